//! Names that are almost right: which one was meant.

/// How much alike (Jaro) two names must be for one to be meant by the other; as for options.
const LIKENESS_MIN: f64 = 0.7;

/// Names that other servers use, and the option that does the same here.
const ELSEWHERE: [(&str, &str); 35] = [
    ("addr", "listen"),
    ("address", "listen"),
    ("autoindex", "directories"),
    ("bind", "listen"),
    ("browse", "directories"),
    ("cache", "map-cache"),
    ("dir", "root"),
    ("directory", "root"),
    ("directory-listing", "directories"),
    ("document-root", "root"),
    ("dot-files", "dotfiles"),
    ("error-document", "error-page"),
    ("hidden", "dotfiles"),
    ("history-api-fallback", "spa"),
    ("host", "listen"),
    ("interface", "listen"),
    ("interfaces", "listen"),
    ("list", "directories"),
    ("log", "access-log"),
    ("log-format", "access-log-format"),
    ("metrics", "status"),
    ("mime", "type"),
    ("page404", "error-page"),
    ("page-fallback", "fallback"),
    ("port", "listen"),
    ("redirects", "redirect"),
    ("rewrites", "rewrite"),
    ("root", "root"),
    ("return", "redirect"),
    ("server-alias", "hosts"),
    ("server-name", "hosts"),
    ("single", "spa"),
    ("try-files", "fallback"),
    ("types", "type"),
    ("vhost", "hosts"),
];

/// Names that other servers use for what has no option here, and what to do.
const WITHOUT_OPTION: [(&str, &str); 16] = [
    ("auto-tls", TLS),
    ("brotli", COMPRESSION),
    ("cert", TLS),
    ("certificate", TLS),
    ("compress", COMPRESSION),
    ("compression", COMPRESSION),
    ("gzip", COMPRESSION),
    ("https", TLS),
    ("key", TLS),
    ("ssl", TLS),
    ("threads", ONE_THREAD),
    ("tls", TLS),
    ("tls-cert", TLS),
    ("tls-key", TLS),
    ("workers", ONE_THREAD),
    ("zstd", COMPRESSION),
];
const TLS: &str = "spede speaks plain HTTP; put a proxy for TLS before it, over -l unix:PATH";
const COMPRESSION: &str =
    "put a file.br, file.zst or file.gz beside the file, and it is sent to who takes it";
const ONE_THREAD: &str = "one thread serves all; disk access in parallel is --disk-depth";

/// What to do instead of an option of another server that has no counterpart.
pub(super) fn without_option(name: &str) -> Option<&'static str> {
    let found = WITHOUT_OPTION.iter().find(|(other, _)| *other == name);
    found.map(|(_, advice)| *advice)
}

/// The option that a name of another server stands for.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let found = ELSEWHERE.iter().find(|(other, _)| *other == name);
    found.map(|(_, ours)| *ours)
}

/// Which of the known names was probably meant. Letter case and separators do not count.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
    let wanted = bare(name);
    let likely = known.map(|known| (strsim::jaro(&bare(known), &wanted), known));
    let most = likely.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (most.0 >= LIKENESS_MIN).then_some(most.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_whatever_its_separators() {
        let known = ["listen", "map-cache", "path-cache", "access-log"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("lisen"), Some("listen"));
        assert_eq!(nearest("map_cache"), Some("map-cache"));
        assert_eq!(nearest("MapCashe"), Some("map-cache"));
        assert_eq!(nearest("accesslog"), Some("access-log"));
        assert_eq!(nearest("xyzzy"), None);
    }

    #[test]
    fn names_of_other_servers_are_known_in_any_spelling() {
        assert_eq!(elsewhere("PORT"), Some("listen"));
        assert_eq!(elsewhere("document_root"), Some("root"));
        assert_eq!(elsewhere("listen"), None);
    }
}
