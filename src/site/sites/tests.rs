//! Site selection: by table, against a naive model, and for arbitrary bytes.

use proptest::prelude::*;

use super::*;
use crate::site::media_type::MediaTypes;
use crate::site::resolve::{Directories, DotFiles};

fn site(number: u32) -> Rc<Site> {
    Rc::new(Site {
        id: SiteId::new(number),
        policy: Policy {
            naming: Naming {
                index: Vec::new(),
                dot_files: DotFiles::Refused,
                directories: Directories::Hidden,
                media_types: MediaTypes::default(),
            },
            paths: PathRules::default(),
            fields: FieldRules::default(),
            access: AccessRules::default(),
            entity_tags: EntityTags::File,
            ranges: RangeLimits { count_max: 1 },
            revalidate: Duration::ZERO,
        },
    })
}

const DEFAULT: u32 = 0;

fn sites(hosts: &[(&str, u32)]) -> Sites {
    let mut sites = Sites::new(Some(site(DEFAULT)));
    for (host, number) in hosts {
        sites.add(host, site(*number)).expect(host);
    }
    sites
}

fn number_of(sites: &Sites, host: &[u8]) -> Option<u32> {
    sites.of(host).map(|site| site.id.number())
}

#[test]
fn without_a_default_site_other_hosts_have_none() {
    let mut sites = Sites::new(None);
    sites.add("example.org", site(1)).expect("it is a host");
    let mut last = LastSite::default();
    for (host, number) in [
        ("example.com", None),
        ("example.org", Some(1)),
        ("", None),
        ("example.org", Some(1)),
        ("192.0.2.1", None),
    ] {
        let found = last.find(&sites, host.as_bytes());
        assert_eq!(found.map(|site| site.id.number()), number, "{host}");
        assert_eq!(number_of(&sites, host.as_bytes()), number, "{host}");
    }
}

#[test]
fn a_connection_looks_its_site_up_again_once_the_sites_are_replaced() {
    let mut tables = sites(&[("a.example", 1)]);
    let mut last = LastSite::default();
    let mut find = |tables: &Sites| {
        let found = last.find(tables, b"a.example");
        found.map(|site| site.id.number())
    };
    assert_eq!(find(&tables), Some(1));
    for number in [2, 3] {
        tables.replace(sites(&[("a.example", number)]));
        assert_eq!(find(&tables), Some(number));
        assert_eq!(find(&tables), Some(number));
    }
    tables.replace(Sites::new(None));
    assert_eq!(find(&tables), None);
}

#[test]
fn a_host_leads_to_its_site_however_it_is_written() {
    let sites = sites(&[
        ("example.org", 1),
        ("*.example.org", 2),
        ("*.A.Example.org", 3),
        ("www.example.org", 4),
        ("192.0.2.1", 5),
        ("[2001:DB8::1]", 6),
        ("xn--bcher-kva.example", 7),
        ("*.org", 8),
    ]);
    let long = format!("{}.example.org", "a".repeat(NAME_LENGTH_MAX));
    #[rustfmt::skip]
    let cases: &[(&str, u32, &str)] = &[
        ("example.org",               1, "exact"),
        ("EXAMPLE.oRg",               1, "in any case"),
        ("example.org:8080",          1, "with a port"),
        ("example.org:",              1, "with an empty port"),
        ("example.org.",              1, "with the dot of the root"),
        ("example.org.:80",           1, "with both"),
        ("example.org..",             0, "two dots are no name"),
        ("www.example.org",           4, "exact before wildcard"),
        ("x.example.org",             2, "one label"),
        ("X.Example.Org.:80",         2, "one label, written in another way"),
        ("*.example.org",             2, "an asterisk sent is a label"),
        ("y.x.example.org",           0, "a wildcard is one label"),
        (".example.org",              0, "a wildcard is a whole label"),
        ("y.a.example.org",           3, "a wildcard further down"),
        ("a.example.org",             2, "and what stands above it"),
        ("other.org",                 8, "a wildcard of one label"),
        ("org",                       0, "which is not itself"),
        ("example.com",               0, "another name"),
        ("xexample.org",              8, "the end of a label is none"),
        ("192.0.2.1:80",              5, "an address"),
        ("192.0.2.01",                0, "another text of it is a name"),
        ("[2001:db8::1]",             6, "an address in brackets"),
        ("[2001:0db8:0:0:0:0:0:1]:80", 6, "in another text, with a port"),
        ("[2001:db8::2]",             0, "another address"),
        ("[v1.a]",                    0, "an address of the future"),
        ("[2001:db8::1",              6, "no end: refused before it comes here, harmless"),
        ("xn--bcher-kva.example",     7, "an internationalised name"),
        ("b\u{fc}cher.example",       0, "in its other form"),
        ("%65xample.org",             8, "an escape is no letter"),
        ("",                          0, "none"),
        (".",                         0, "the root"),
        (":80",                       0, "a port alone"),
        (&long,                       0, "longer than a name can be"),
    ];
    for (host, number, because) in cases {
        assert_eq!(
            number_of(&sites, host.as_bytes()),
            Some(*number),
            "{host}: {because}"
        );
    }
}

#[test]
fn only_hosts_can_be_configured_and_each_for_one_site() {
    let label = "a".repeat(LABEL_LENGTH_MAX);
    let long = format!("{label}a.example.org");
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    let too_long = format!("{longest}a");
    let mut sites = sites(&[]);
    #[rustfmt::skip]
    let refused = [
        "", ".", "*", "*.", "a.*", "*a.example.org", "*.*.org", "example.org:80", "[::1]:80", "[::1]]", "[::1", "::1",
        "exa mple.org", "http://example.org", "example.org/", "b\u{fc}cher.example", "a..b", "example.org..", "%61.org",
        &long, &too_long,
    ];
    for host in refused {
        let invalid = Err(HostError::Invalid(host.to_owned()));
        assert_eq!(sites.add(host, site(1)), invalid, "{host}");
    }
    for host in ["a_b.example.org", "*.a", "[::1]", "Example.org.", &longest] {
        assert_eq!(sites.add(host, site(1)), Ok(()), "{host}");
        assert_eq!(sites.add(host, site(1)), Ok(()), "{host} again");
    }
    for host in ["example.ORG", "*.A.", "[0::1]"] {
        let taken = Err(HostError::Taken(host.to_owned()));
        assert_eq!(sites.add(host, site(2)), taken, "{host}");
    }
}

/// Naive model: compares the configured hosts with the requested one as text, without tables.
fn naive(hosts: &[(String, u32)], asked: &str) -> u32 {
    let asked = asked.split(':').next().unwrap_or("").to_lowercase();
    let asked = asked.strip_suffix('.').unwrap_or(&asked);
    let labels: Vec<&str> = asked.split('.').collect();
    let is_exact = |host: &str| host == asked;
    let is_wildcard = |host: &str| {
        let pattern: Vec<&str> = host.split('.').collect();
        pattern[0] == "*"
            && pattern.len() == labels.len()
            && pattern[1..] == labels[1..]
            && !labels[0].is_empty()
    };
    let mut exact = hosts.iter().filter(|(host, _)| is_exact(host));
    let mut wildcard = hosts.iter().filter(|(host, _)| is_wildcard(host));
    exact
        .next()
        .or_else(|| wildcard.next())
        .map_or(DEFAULT, |(_, number)| *number)
}

/// A thousand sites, exact and wildcard, of few different labels so that they overlap.
fn thousand() -> Vec<(String, u32)> {
    let label = |number: u32| char::from_digit(10 + number % 8, 18).expect("a letter");
    let hosts = (1_u32..=1_000).map(|number| {
        let (a, b, c) = (label(number), label(number / 8), label(number / 64));
        let d = number / 512;
        match number % 3 {
            0 => (format!("*.{b}.{c}{d}"), number),
            1 => (format!("{a}.{b}.{c}{d}"), number),
            _ => (format!("{a}{b}.{c}{d}"), number),
        }
    });
    let mut hosts: Vec<(String, u32)> = hosts.collect();
    hosts.sort();
    hosts.dedup_by(|one, other| one.0 == other.0);
    hosts
}

proptest! {
    #[test]
    fn a_thousand_sites_are_found_as_by_comparing_all(
        labels in prop::collection::vec("[a-hA-H]{0,2}|\\*", 0..4),
        tld in "[a-hA-H][01]",
        end in "\\.?(:80)?",
    ) {
        let hosts = thousand();
        prop_assert!(hosts.len() > 500);
        let named: Vec<(&str, u32)> = hosts.iter().map(|(host, number)| (&**host, *number)).collect();
        let sites = sites(&named);
        let asked = labels.into_iter().chain([tld]).collect::<Vec<_>>().join(".") + &end;
        prop_assert_eq!(number_of(&sites, asked.as_bytes()), Some(naive(&hosts, &asked)), "{}", asked);
    }

    #[test]
    fn any_bytes_select_a_site(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let sites = sites(&[("example.org", 1), ("[::1]", 2)]);
        let mut last = LastSite::default();
        let found = last.find(&sites, &bytes).map(|site| site.id.number());
        prop_assert_eq!(found, number_of(&sites, &bytes));
    }
}

#[test]
fn a_connection_finds_its_last_site_again_and_no_other() {
    let long = format!("{}.long.example", "a".repeat(63));
    let sites = sites(&[("a.example", 1), ("b.example", 2), ("*.long.example", 3)]);
    let hosts: [&[u8]; 6] = [
        b"a.example",
        b"b.example",
        b"a.exampl",
        b"",
        long.as_bytes(),
        b"A.example",
    ];
    let mut last = LastSite::default();
    assert!(last.site().is_none());
    for one in hosts {
        for other in hosts {
            let measured = allocation_counter::measure(|| {
                for host in [one, other, other] {
                    let found = last.find(&sites, host).map(|site| site.id.number());
                    assert_eq!(found, number_of(&sites, host), "{one:?} {other:?}");
                }
            });
            assert_eq!(measured.count_total, 0);
            let known = last.site().expect("a request was made");
            assert_eq!(Some(known.id.number()), number_of(&sites, other));
        }
    }
}
