//! Behaviour of the program at a defect of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

/// Set in the process that is to panic.
const VARIABLE: &str = "SPEDE_TEST_DEFECT";

#[test]
fn a_panic_on_a_helper_is_one_line_and_ends_the_process() {
    if std::env::var_os(VARIABLE).is_some() {
        spede::defect::end_process_on_panic();
        let helper = thread::Builder::new().name("helper".into());
        let failed = helper.spawn(|| panic!("two\nlines")).unwrap().join();
        unreachable!("the process has ended before {failed:?}");
    }
    let name = thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{said}");
    assert!(line.starts_with("spede: internal error"), "{line}");
    assert!(line.contains("two lines (tests/it/defect.rs:"), "{line}");
    assert!(line.ends_with("thread helper)"), "{line}");
}
