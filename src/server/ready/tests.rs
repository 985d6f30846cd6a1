//! A model of the loop: connections that want to send, served as the loop does.

use proptest::prelude::*;

use super::*;

/// What one call takes of a file.
const WINDOW_LENGTH: u64 = 512 * 1024;

/// Where the bytes are that a connection sends.
#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    Memory,
    File,
}

/// A connection of the model.
#[derive(Clone, Debug, Default)]
struct Sender {
    kind: Kind,
    /// Bytes that it has yet to send.
    left: u64,
    sent: u64,
    turns: u64,
    /// The iteration in which it got what it has to do.
    since: usize,
    is_queued: bool,
}

impl Sender {
    fn of(number: usize) -> Sender {
        let kind = match number % 2 {
            0 => Kind::Memory,
            _ => Kind::File,
        };
        Sender {
            kind,
            ..Sender::default()
        }
    }
}

/// The loop without sockets: connections that want to send, and what one call takes.
struct Model {
    ready: ReadyConnections,
    budget: SendBudget,
    senders: Vec<Sender>,
    call_length: u64,
    iteration: usize,
    total: u64,
}

/// What was served in one iteration.
#[derive(Debug, Default)]
struct Served {
    input: Vec<usize>,
    sending: Vec<usize>,
    bytes: u64,
}

impl Model {
    fn new(count: usize, call_length: u64) -> Model {
        Model {
            ready: ReadyConnections::default(),
            budget: SendBudget::default(),
            senders: (0..count).map(Sender::of).collect(),
            call_length,
            iteration: 0,
            total: 0,
        }
    }

    /// A request comes, for so many bytes, unless one is under way.
    fn ask(&mut self, at: usize, length: u64) {
        let sender = &mut self.senders[at];
        if !sender.is_queued {
            sender.left = length;
            sender.since = self.iteration;
            self.queue(at, Task::Input);
        }
    }

    fn queue(&mut self, at: usize, task: Task) {
        self.senders[at].is_queued = true;
        let index = u32::try_from(at).expect("few");
        self.ready.push(
            ConnectionId {
                index,
                generation: 1,
            },
            task,
        );
    }

    /// What the driver does with one connection.
    fn drive(&mut self, at: usize) {
        let sender = &mut self.senders[at];
        sender.is_queued = false;
        sender.turns += 1;
        let mut share = self.budget.share();
        while share > 0 && sender.left > 0 {
            let call = match sender.kind {
                Kind::Memory => call_length_max(share),
                Kind::File => WINDOW_LENGTH - sender.sent % WINDOW_LENGTH,
            };
            let sent = sender.left.min(call).min(self.call_length);
            sender.left -= sent;
            sender.sent += sent;
            share = share.saturating_sub(sent);
            self.budget.spend(sent);
            self.total += sent;
        }
        if sender.left > 0 {
            self.queue(at, Task::Sending);
        }
    }

    fn iterate(&mut self) -> Served {
        let before = self.total;
        let mut served = Served::default();
        for task in [Task::Input, Task::Sending] {
            self.budget.open(self.ready.count(task), task.share_min());
            while self.budget.admits_next() {
                let id = self.ready.pop(task).expect("it was counted");
                let at = id.index as usize;
                self.drive(at);
                match task {
                    Task::Input => served.input.push(at),
                    Task::Sending => served.sending.push(at),
                }
            }
        }
        self.budget.end_iteration(self.total);
        self.iteration += 1;
        served.bytes = self.total - before;
        served
    }
}

proptest! {
    /// However many ask for however much, an iteration sends no more than two lanes may, each lane serves somebody
    /// as long as somebody waits there, and everybody has everything in the end.
    #[test]
    fn no_iteration_is_long_and_nobody_starves(
        requests in prop::collection::vec((0_usize..60, 0_u64..3 << 20, 0_usize..4), 1..200),
        call_length in 1_000_u64..2 << 20,
    ) {
        let mut model = Model::new(60, call_length);
        let lane = 2 * LANE_LENGTH_MAX;
        let mut requests = requests.into_iter();
        loop {
            // Some requests come between two iterations.
            let next = requests.next();
            if let Some((at, length, gap)) = next {
                model.ask(at, length);
                if gap == 0 {
                    continue;
                }
            }
            let waiting = (model.ready.count(Task::Input), model.ready.count(Task::Sending));
            let served = model.iterate();
            prop_assert!(served.bytes <= 2 * lane, "{served:?}");
            prop_assert!(served.input.len() >= waiting.0.min(2), "{waiting:?}: {served:?}");
            prop_assert!(served.sending.len() >= waiting.1.min(1), "{waiting:?}: {served:?}");
            if next.is_none() && model.ready.is_empty() {
                break;
            }
        }
        prop_assert!(model.senders.iter().all(|sender| sender.left == 0));
        prop_assert!(model.budget.most() <= 2 * lane);
    }

    /// Those that want more than there is get the same, once all have begun.
    #[test]
    fn senders_take_turns(count in 1_usize..300, call_length in 100_000_u64..2 << 20) {
        let mut model = Model::new(count, call_length);
        for at in 0..count {
            model.ask(at, u64::MAX >> 1);
        }
        while model.ready.count(Task::Input) > 0 {
            model.iterate();
        }
        let begun = model.senders.clone();
        for _ in 0..200 {
            model.iterate();
            let pairs = || model.senders.iter().zip(&begun);
            let turns = || pairs().map(|(sender, begun)| sender.turns - begun.turns);
            prop_assert!(turns().max() <= turns().min().map(|turns| turns + 1));
            for (sender, begun) in pairs() {
                let (sent, turns) = (sender.sent - begun.sent, sender.turns - begun.turns);
                prop_assert!(sent >= turns * SENDING_SHARE_MIN, "{sent} in {turns} turns");
            }
        }
    }
}

#[test]
fn a_short_answer_does_not_wait_for_long_ones() {
    let mut model = Model::new(1_101, u64::MAX);
    for at in 0..1_100 {
        model.ask(at, 12_900_000);
    }
    // Their heads and first bytes.
    while model.ready.count(Task::Input) > 0 {
        model.iterate();
    }
    for _ in 0..50 {
        model.ask(1_100, 1_000);
        model.iterate();
        let sender = &model.senders[1_100];
        assert_eq!((sender.left, model.iteration - sender.since), (0, 1));
    }
}

#[test]
fn a_lane_is_divided_among_those_that_wait() {
    use Task::{Input, Sending};
    #[rustfmt::skip]
    let cases = [
        // task   count  share              because
        (Sending,     0, LANE_LENGTH_MAX,     "nobody waits: connections at their deadlines use it"),
        (Sending,     1, LANE_LENGTH_MAX,     "one download has it all"),
        (Sending,     2, LANE_LENGTH_MAX / 2, "each half"),
        (Sending,     3, SENDING_SHARE_MIN,   "the least"),
        (Sending, 1_000, SENDING_SHARE_MIN,   "some have to wait for the next iteration"),
        (Input,       4, LANE_LENGTH_MAX / 4, "few begin"),
        (Input,   1_000, INPUT_SHARE_MIN,     "many begin"),
    ];
    for (task, count, share, because) in cases {
        let mut budget = SendBudget::default();
        budget.open(count, task.share_min());
        assert_eq!(budget.share(), share, "{because}");
    }
}

#[test]
fn calls_are_not_made_for_crumbs() {
    #[rustfmt::skip]
    let cases = [
        (                    1, CALL_LENGTH_UNIT),
        (     CALL_LENGTH_UNIT, CALL_LENGTH_UNIT),
        (LANE_LENGTH_MAX - 300, LANE_LENGTH_MAX),
    ];
    for (left, want) in cases {
        assert_eq!(call_length_max(left), want, "{left}");
    }
}
