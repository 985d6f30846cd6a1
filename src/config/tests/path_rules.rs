//! Options about paths that lead to nothing that is served.

use super::*;
use crate::settings::{CleanUrls, ErrorPage, InnerPath};

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
        ..PathRules::default()
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
fn clean_urls_are_switched_on_and_off_for_each_site() {
    assert_eq!(rules_of(&["--clean-urls"]).clean_urls, CleanUrls::On);
    assert_eq!(rules_of(&["--clean-urls=off"]).clean_urls, CleanUrls::Off);
    assert_eq!(rules_of_file("").unwrap().clean_urls, CleanUrls::Off);
    let text = "clean-urls = true\nerror-page = \"404=/404.html\"";
    let rules = rules_of_file(text).unwrap();
    assert_eq!(rules.clean_urls, CleanUrls::On);
    assert_eq!(rules.error_pages[0].path.raw(), b"/404");
    let line = refusal_of(&["--clean-urls=html"]);
    assert_eq!(line, "--clean-urls: 'html' is not on or off");
    // A rule and the clean path of its target.
    let circle = "clean-urls = true\n[[site.redirect]]\nfrom = \"/a\"\nto = \"/a.html\"";
    let line = rules_of_file(circle).unwrap_err();
    assert_eq!(
        line,
        "s.toml:5:8: redirect: leads in a circle: /a → /a.html → /a"
    );
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

/// The rules of the one site of a file, or the message about it; the file is `s.toml`.
fn rules_of_file(text: &str) -> Result<PathRules, String> {
    let text = format!("[[site]]\nroot = \"/srv\"\n{text}");
    let configured = sites::configured(&text, &[])?;
    Ok(configured.settings.sites[0].policy.paths.clone())
}

#[test]
fn redirects_rewrites_and_pages_are_read_from_tables() {
    let rules = rules_of_file(
        "error-pages = { 404 = \"/404.html\", 503 = \"/busy.html\" }
        [[site.redirect]]
        from = \"/old/*\"
        to = \"/new/$1\"
        [[site.redirect]]
        from = \"/shop/**\"
        to = \"https://shop.example/$1\"
        status = 302
        [[site.rewrite]]
        from = \"/v{1,2}/**\"
        to = \"/current/$1\"",
    );
    let rules = rules.unwrap();
    let codes: Vec<u16> = rules
        .error_pages
        .iter()
        .map(|page| page.status.code())
        .collect();
    assert_eq!(codes, [404, 503]);
    let moved = |path: &[u8]| {
        let moved = rules.rules.redirected(path)?;
        Some((moved.status.code(), String::from(moved.location)))
    };
    assert_eq!(moved(b"/old/a"), Some((308, "/new/a".to_owned())));
    assert_eq!(
        moved(b"/shop/a/b"),
        Some((302, "https://shop.example/a/b".to_owned()))
    );
    assert_eq!(moved(b"/v1/a"), None);
    assert_eq!(
        rules.rules.rewritten(b"/v2/a/b").as_deref(),
        Some("/current/a/b")
    );
}

#[test]
fn wrong_rules_are_refused_with_their_position() {
    let redirect = |lines: &str| format!("[[site.redirect]]\n{lines}\n");
    #[rustfmt::skip]
    let cases = [
        (redirect("from = \"/a\""), "s.toml:3:1: [[site.redirect]] has no to; write to = \"/new/$1\""),
        (redirect("from = \"a\"\nto = \"/b\""), "s.toml:4:8: from: 'a' does not begin with a slash"),
        (redirect("from = \"/a\"\nto = \"b\""), "s.toml:5:6: to: 'b' is neither a path of the site nor an http:// or"),
        (redirect("from = \"/a\"\nto = \"//b/\""), "s.toml:5:6: to: '//b/' is neither a path"),
        (redirect("from = \"/a\"\nto = \"/$1\""), "s.toml:5:6: to: '/$1' has $1, and the pattern has 0 wildcards"),
        (redirect("from = \"/*\"\nto = \"http://$1/\""), "s.toml:5:6: to: 'http://$1/' has a capture within the host"),
        (redirect("from = \"/a\"\nto = \"/b\\r\\nX: 1\""), "s.toml:5:6: to: '/b\\r\\nX: 1' has a control character"),
        (redirect("from = \"/a\"\nto = \"/b\"\nstatus = 303"), "s.toml:6:10: status: '303' is not the status of a redirect"),
        (redirect("from = \"/a\"\nto = \"/b\"\ncode = 301"), "s.toml:6:1: 'code' is not a key of [[site.redirect]]"),
        (redirect("from = \"/a/**\"\nto = \"/a/b/$1\""), "s.toml:4:8: redirect: leads in a circle: /a/x → /a/b/x → "),
        ("redirect = 1".to_owned(), "s.toml:3:12: redirect: is written [[site.redirect]]"),
        ("error-pages = { 405 = \"/a\" }".to_owned(), "s.toml:3:17: error-pages: a page is for 403, 404, 500,"),
        ("[[site.rewrite]]\nfrom = \"/a\"\nto = \"https://b/\"".to_owned(), "s.toml:5:6: to: 'https://b/' is not a path of the site"),
        ("[[site.rewrite]]\nfrom = \"/a\"\nto = \"/b\"\nstatus = 301".to_owned(), "s.toml:6:1: 'status' is not a key of [[site.rewrite]]"),
    ];
    for (text, want) in cases {
        let line = rules_of_file(&text).unwrap_err();
        assert!(line.starts_with(want), "{text}: {line}");
    }
    let line = sites::configured("[[redirect]]\nfrom = \"/a\"\n", &[]).unwrap_err();
    assert_eq!(
        line,
        "s.toml:1:3: 'redirect' is for a site; write [[site]] and below it redirect"
    );
}
