//! Options about paths that lead to nothing that is served.

use super::*;
use crate::settings::{ErrorPage, InnerPath};

fn path(text: &str) -> InnerPath {
    InnerPath::new(text).unwrap()
}

fn rules_of(words: &[&str]) -> PathRules {
    settings_of(words).sites[0].policy.paths.clone()
}

#[test]
fn pages_of_errors_and_a_fallback_are_taken() {
    let page = |code, text| ErrorPage::new(code, path(text)).unwrap();
    let want = PathRules {
        error_pages: vec![page(404, "/404.html"), page(503, "/busy/")],
        fallback: Some(path("/200.html")),
    };
    let words = [
        "--error-page=404=/404.html",
        "--error-page=503=/busy/",
        "--fallback=/200.html",
    ];
    assert_eq!(rules_of(&words), want);
    let words = [
        "--error-page",
        "404=/404.html,503=/busy/",
        "--fallback",
        "/200.html",
    ];
    assert_eq!(rules_of(&words), want);
    assert_eq!(rules_of(&[]), PathRules::default());
    for words in [&["--spa"][..], &["--spa=on"], &["--fallback=/index.html"]] {
        let fallback = rules_of(words).fallback;
        assert_eq!(fallback, Some(path("/index.html")), "{words:?}");
    }
    assert_eq!(rules_of(&["--spa=off"]).fallback, None);
    let both = rules_of(&["--spa", "--fallback=/200.html"]).fallback;
    assert_eq!(both, Some(path("/200.html")), "it says which page");
}

#[test]
fn impossible_ones_say_what_to_write() {
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["--error-page=404"],             "--error-page: '404' is not STATUS=PATH; write 403, 404, 500, 503 or 504 and"),
        (&["--error-page=405=/a"],          "--error-page: '405=/a' is not STATUS=PATH"),
        (&["--error-page=200=/a"],          "--error-page: '200=/a' is not STATUS=PATH"),
        (&["--error-page=404=404.html"],    "--error-page: '404=404.html' is not STATUS=PATH"),
        (&["--error-page=404=http://a/"],   "--error-page: '404=http://a/' is not STATUS=PATH"),
        (&["--error-page=404=/a,404=/b"],   "--error-page: '404' is given twice"),
        (&["--fallback=index.html"],        "--fallback: 'index.html' is not a path of the site; write one such as /404.html"),
        (&["--fallback=/a?b"],              "--fallback: '/a?b' is not a path of the site"),
        (&["--spa=/index.html"],            "--spa: '/index.html' is not on or off; a path is for --fallback"),
        (&["--single"],                     "--single: is not an option; did you mean --spa?"),
        (&["--page404", "/a"],              "--page404: is not an option; did you mean --error-page?"),
    ];
    for (words, want) in cases {
        let line = refusal_of(words);
        assert!(line.starts_with(want), "{words:?}: {line}");
    }
}
