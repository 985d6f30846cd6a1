//! What waits, what passes, and what is given up.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::job::{Append, OneShot, Warm};
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;

/// Ends the job that was handed over last, and hands over what there is room for. Gives what was ended,
/// those first that the queue gave up.
fn reap(queue: &mut JobQueue, at_engine: &mut Vec<JobId>) -> Vec<JobId> {
    let now = Instant::now();
    let mut done = Vec::new();
    let hand_over = |queue: &mut JobQueue, at_engine: &mut Vec<JobId>| {
        while let Some((id, _)) = queue.next(now, |_| true) {
            at_engine.push(id);
        }
    };
    hand_over(queue, at_engine);
    if let Some(id) = at_engine.pop() {
        queue.ended(id, &Done::Discarded, now);
        done.push((id, Done::Discarded));
    }
    queue.take_given_up(&mut done);
    hand_over(queue, at_engine);
    done.into_iter().map(|(id, _)| id).collect()
}

fn client(last: u8) -> Owner {
    Owner::Client(IpAddr::from([192, 0, 2, last]))
}

fn job() -> Job {
    Job::Discard(None)
}

#[test]
fn clients_have_their_turns_whatever_one_of_them_asks_for() {
    let (mut queue, mut at_engine) = (JobQueue::new(1, 100), Vec::new());
    let first = queue.submit(client(1), job()).expect("room");
    let greedy: Vec<JobId> = (0..5)
        .map(|_| queue.submit(client(1), job()).expect("room"))
        .collect();
    let modest = queue.submit(client(2), job()).expect("room");
    let mut order = Vec::new();
    for _ in 0..7 {
        order.extend(reap(&mut queue, &mut at_engine));
    }
    assert_eq!(
        order,
        [
            first, greedy[0], modest, greedy[1], greedy[2], greedy[3], greedy[4]
        ]
    );
}

#[test]
fn a_full_queue_gives_up_the_newest_of_the_longest() {
    let mut queue = JobQueue::new(0, 4);
    let greedy: Vec<JobId> = (0..4)
        .map(|_| queue.submit(client(1), job()).expect("room"))
        .collect();
    assert!(queue.submit(client(1), job()).is_err(), "its own fault");
    queue.submit(client(2), job()).expect("a place is made");
    assert_eq!(queue.waiting_count(), 4);
    assert_eq!(queue.given_up[0].0, greedy[3]);
    queue.submit(client(2), job()).expect("and another");
    assert!(queue.submit(client(2), job()).is_err(), "now they are even");
    assert_eq!(queue.refused(), 4);
    queue.submit(Owner::Server, job()).expect("always room");
}

/// An answer that has begun cannot go on without its job, so nobody is answered 503 for another's sake.
#[test]
fn what_an_answer_under_way_needs_is_never_given_up() {
    let mut queue = JobQueue::new(0, 2);
    let firm: Vec<JobId> = (0..4)
        .map(|_| queue.submit_unbounded(client(1), job()))
        .collect();
    let asked = queue.submit(client(1), job());
    let given_up = queue.submit(client(1), job()).expect("room for two");
    queue.submit_unbounded(client(1), job());
    assert!(
        queue.submit(client(1), job()).is_err(),
        "two are asked for, however many answers are under way"
    );
    queue.submit(client(2), job()).expect("a place is made");
    assert_eq!(queue.given_up.len(), 1);
    assert_eq!(queue.given_up[0].0, given_up);
    assert!(queue.submit(client(2), job()).is_err(), "now they are even");
    queue.places.count_max = 1;
    let mut at_engine = Vec::new();
    let done: Vec<JobId> = (0..9)
        .flat_map(|_| reap(&mut queue, &mut at_engine))
        .collect();
    let is_done = |job: &JobId| done.contains(job);
    assert!(firm.iter().all(is_done) && asked.iter().all(is_done));
}

#[test]
fn one_network_of_64_bits_is_one_client() {
    let owner = |text: &str| Owner::from(Peer::Address(text.parse().expect("an address")));
    assert_eq!(owner("2001:db8::1"), owner("2001:db8::ffff:1"));
    assert_ne!(owner("2001:db8::1"), owner("2001:db8:0:1::1"));
    assert_eq!(owner("::ffff:192.0.2.1"), client(1));
}

/// One that does not end keeps none of the others from beginning.
#[test]
fn an_internal_job_waits_for_its_own_kind_only() {
    let now = Instant::now();
    let mut queue = JobQueue::new(0, 0);
    let mounts = |queue: &mut JobQueue, root: &Arc<Root>| {
        let job = Job::OneShot(OneShot::Mounts(vec![Arc::clone(root)]), None);
        queue.submit_unbounded(Owner::Server, job)
    };
    let notices = |queue: &mut JobQueue| {
        let output = File::open("/dev/null").expect("a file");
        let job = Job::Append(Append::notices(Arc::new(output), Vec::new()));
        queue.submit_unbounded(Owner::Server, job)
    };
    let root = Root::open(Path::new("/"), DeferredDrops::default()).expect("a root");
    let root = Arc::new(root);
    let first = mounts(&mut queue, &root);
    let second = mounts(&mut queue, &root);
    let other = notices(&mut queue);
    let next = |queue: &mut JobQueue| queue.next(now, |_| true).map(|(id, _)| id);
    assert_eq!(next(&mut queue), Some(first));
    assert_eq!(next(&mut queue), Some(other));
    assert_eq!(next(&mut queue), None);
    assert_eq!(
        (queue.depth(), queue.waiting_count()),
        (1, 1),
        "without the notices"
    );
    queue.ended(other, &Done::NoticesWritten, now);
    assert_eq!(next(&mut queue), None);
    queue.ended(first, &Done::Mounts(None), now);
    assert_eq!(next(&mut queue), Some(second));
    queue.ended(second, &Done::Mounts(None), now);
    assert_eq!(queue.depth(), 0);
}

/// Everybody has left: the disk is not asked.
#[test]
fn a_read_that_nobody_wants_is_given_up_before_it_begins() {
    let now = Instant::now();
    let root = Root::open(Path::new("/"), DeferredDrops::default()).expect("a root");
    let file = Arc::new(root.open_file(c"etc/passwd").expect("a file"));
    let mut queue = JobQueue::new(1, 10);
    let job = || Job::Warm(Warm::new(Arc::clone(&file), 0..1));
    let first = queue.submit(client(1), job()).expect("room");
    let unwanted = queue.submit(client(1), job()).expect("room");
    let wanted = queue.submit(client(1), job()).expect("room");
    assert_eq!(queue.next(now, |_| true).map(|(id, _)| id), Some(first));
    queue.ended(first, &Done::Warmed(Ok(())), now);
    let next = queue.next(now, |id| id != unwanted);
    assert_eq!(next.map(|(id, _)| id), Some(wanted));
    let mut done = Vec::new();
    queue.take_given_up(&mut done);
    assert!(matches!(
        &done[..],
        [(id, Done::Warmed(Err(JobError::TimedOut)))] if *id == unwanted
    ));
    assert_eq!(queue.latency().total(), Duration::ZERO);
}

#[test]
fn jobs_that_open_files_wait_for_descriptors_and_others_pass_them() {
    let now = Instant::now();
    let root = Arc::new(Root::open(Path::new("/"), DeferredDrops::default()).expect("a root"));
    let opening = || {
        let names = OneShot::Names(Arc::clone(&root), c".".to_owned());
        Job::OneShot(names, None)
    };
    let named = || Done::Named(Ok(Vec::new()));
    let mut queue = JobQueue::new(8, 3);
    queue.set_opening_max(1);
    let first = queue.submit(client(1), opening()).expect("room");
    let second = queue.submit(client(1), opening()).expect("room");
    let other = queue.submit(client(1), job()).expect("room");
    let third = queue.submit(client(2), opening()).expect("room");
    let next = |queue: &mut JobQueue| queue.next(now, |_| true).map(|(id, _)| id);
    assert_eq!(next(&mut queue), Some(first));
    assert_eq!(next(&mut queue), Some(other), "it opens none");
    assert_eq!(next(&mut queue), None);
    assert!(queue.lacks_descriptors());
    assert_eq!(queue.waiting_count(), 2);
    queue.submit(client(1), opening()).expect("room for three");
    assert!(queue.submit(client(1), opening()).is_err(), "its own fault");
    queue.ended(first, &named(), now);
    assert_eq!(next(&mut queue), Some(second));
    assert_eq!(next(&mut queue), None);
    queue.set_opening_max(2);
    assert_eq!(next(&mut queue), Some(third), "clients have their turns");
    queue.set_opening_max(usize::MAX);
    assert!(next(&mut queue).is_some());
    assert!(!queue.lacks_descriptors());
}
