//! Tests of environment variables.

use std::process;

use super::*;

#[test]
fn every_flag_has_a_variable_of_its_own_name() {
    for argument in command::command().get_arguments() {
        if matches!(argument.get_id().as_str(), "help" | "version") {
            continue;
        }
        let name = argument.get_long().unwrap_or("root");
        let want = format!("SPEDE_{}", name.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env(), Some(want.as_ref()), "{name}");
    }
}

/// A size, a switch, a list, a path and an address, set to nothing.
const EMPTY: [&str; 5] = [
    "SPEDE_MAP_CACHE",
    "SPEDE_LOCK",
    "SPEDE_INDEX",
    "SPEDE_CACHE_STATE",
    "SPEDE_STATUS",
];

/// The environment is shared by all tests of the process, so this test runs itself again in a process of its
/// own.
#[test]
fn a_variable_is_honoured_and_a_word_wins() {
    const NAME: &str = "config::tests::environment::a_variable_is_honoured_and_a_word_wins";
    const CHILD: &str = "SPEDE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return within_an_environment();
    }
    let output = process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env_clear()
        .envs([
            (CHILD, "1"),
            ("SPEDE_ROOT", "/srv"),
            ("SPEDE_LISTEN", ":80,unix:a"),
        ])
        .envs([("SPEDE_DISK", "disc"), ("SPEDE_PORT", "tcp://10.0.0.1:80")])
        .envs(EMPTY.map(|name| (name, "")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn within_an_environment() {
    let words = |words: &[&str]| match parse(["spede"].iter().chain(words).map(OsString::from)) {
        Ok(Task::Serve(settings)) => Ok(*settings),
        Ok(task) => panic!("{words:?}: {task:?}"),
        Err(usage) => Err(usage),
    };
    let want = "--disk (from SPEDE_DISK): 'disc' is not a disk engine; write auto, uring, threads or blocking";
    assert_eq!(words(&["-l", "81"]), Err(Usage::Wrong(want.to_owned())));
    let want = "--disk: 'x' is not a disk engine; write auto, uring, threads or blocking";
    assert_eq!(words(&["--disk=x"]), Err(Usage::Wrong(want.to_owned())));

    let settings = words(&["--disk", "auto"]).unwrap();
    assert_eq!(settings.sites[0].root, PathBuf::from("/srv"));
    let unset = read(&["-l", ":80", "-l", "unix:a", "/srv"]).unwrap();
    assert_eq!(settings, unset, "what is empty counts as unset");
    assert_eq!(settings.listen, [tcp("[::]:80"), unix("a")]);

    let settings = words(&["--disk", "auto", "-l", "81", "www"]).unwrap();
    assert_eq!(settings.sites[0].root, PathBuf::from("www"));
    assert_eq!(
        settings.listen,
        [tcp("127.0.0.1:81")],
        "words replace a list, not add to it"
    );
}
