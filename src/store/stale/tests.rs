//! When it is said that old answers are served, and which checks are late.

use super::*;
use crate::cache::entry::{Resolution, Trust};
use crate::clock::sample_now as now;

const SECOND: Duration = Duration::from_secs(1);

fn staleness() -> Staleness {
    Staleness {
        limit: 60 * SECOND,
        patience: PATIENCE,
        disk_timeout: 10 * SECOND,
        check_count: 0,
        check_count_max: 1,
        young: VecDeque::new(),
        late: HashSet::default(),
        followed: Vec::new(),
        followed_at: None,
        checks_ahead: 0,
        answers: 0,
        said: NoticeState::No,
    }
}

fn trusted(entry: &Entry, now: &Now) {
    let trust = Trust {
        lifetime: SECOND,
        generation: 0,
    };
    entry.trust(trust, None, now);
}

#[test]
fn a_line_says_once_that_old_answers_are_served_and_once_that_they_are_fresh_again() {
    let (mut now, mut staleness) = (now(), staleness());
    let entry = Rc::new(Entry::new(Resolution::Refused(Status::NotFound)));
    trusted(&entry, &now);
    now.monotonic += 2 * SECOND;
    let answer = |staleness: &mut Staleness, now: &Now, age| {
        staleness
            .note_answer(Some(&entry), age, SECOND, now)
            .is_some()
    };
    assert!(!answer(&mut staleness, &now, 2 * SECOND), "it is slow");
    now.monotonic += SECOND;
    assert!(answer(&mut staleness, &now, 3 * SECOND));
    assert!(!answer(&mut staleness, &now, 3 * SECOND), "it was said");
    let numbers = staleness.numbers(0, &now);
    assert_eq!((numbers.answers, numbers.entries), (3, 1));
    assert_eq!(numbers.oldest_ms, 3_000);
    assert_eq!(staleness.look_through(0, &now), None, "it still is");
    trusted(&entry, &now);
    assert_eq!(staleness.look_through(0, &now), None, "a moment ago");
    now.monotonic += FOLLOWED_PAUSE;
    let line = staleness.look_through(0, &now).expect("a line");
    assert!(
        line.starts_with("answers are fresh again; 2 were"),
        "{line}"
    );
    assert_eq!(staleness.numbers(0, &now).entries, 0);
}

#[test]
fn only_checks_whose_results_are_outstanding_are_late() {
    let (now, mut staleness) = (now(), staleness());
    for number in 1..=3 {
        staleness.check_began(JobId(number), &now);
    }
    assert!(!staleness.has_room());
    let is_under_way = |job| job != JobId(1) && job != JobId(3);
    let next = |staleness: &mut Staleness, passed| {
        staleness.next_late(is_under_way, now.monotonic + passed)
    };
    // That one is over: nothing is done about it.
    assert_eq!(next(&mut staleness, Duration::ZERO), Some(JobId(1)));
    assert_eq!(next(&mut staleness, Duration::ZERO), None);
    assert_eq!(next(&mut staleness, PATIENCE), Some(JobId(2)));
    assert_eq!(next(&mut staleness, PATIENCE), Some(JobId(3)));
    assert_eq!(next(&mut staleness, PATIENCE), None);
}
