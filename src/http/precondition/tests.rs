//! Tests of preconditions: the order of RFC 9110 §13.2.2, and when a part may be sent.

use super::Verdict::{Failed, NotModified, Proceed};
use super::*;
use crate::http::content_coding::Coding;
use proptest::prelude::*;

const TAG: &str = "\"3b9aca00-5\"";
const WEAK_TAG: &str = "W/\"3b9aca00-5\"";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:50:00 GMT";
const FUTURE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

fn tag() -> EntityTag {
    EntityTag::of_time_and_length(0x3b9a_ca00, 5, Coding::Identity).expect("it fits")
}

/// What was modified at [`MODIFIED`], and put in its place then.
fn validators() -> Validators {
    Validators {
        entity_tag: Some(tag()),
        last_modified: date(MODIFIED),
        dating: Dating::Known {
            since: date(MODIFIED),
            origin: Origin::Write,
        },
    }
}

fn date(text: &str) -> HttpDate {
    HttpDate::parse(text.as_bytes()).expect(text)
}

/// The fields of a request, `None` for those that are absent.
#[derive(Clone, Debug, Default)]
struct Fields {
    if_match: Option<Vec<String>>,
    if_none_match: Option<Vec<String>>,
    if_modified_since: Option<String>,
    if_unmodified_since: Option<String>,
}

impl Fields {
    /// `M`, `N`: If-Match, If-None-Match (may be repeated); `S`, `U`: the dates.
    fn of(lines: &[(char, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in lines {
            let value = (*value).to_owned();
            match name {
                'M' => fields.if_match.get_or_insert_default().push(value),
                'N' => fields.if_none_match.get_or_insert_default().push(value),
                'S' => fields.if_modified_since = Some(value),
                'U' => fields.if_unmodified_since = Some(value),
                other => unreachable!("no field {other}"),
            }
        }
        fields
    }

    fn verdict(&self, validators: &Validators) -> Verdict {
        let preconditions = Preconditions {
            if_match: self
                .if_match
                .as_ref()
                .map(|lines| lines.iter().map(String::as_bytes)),
            if_none_match: self
                .if_none_match
                .as_ref()
                .map(|lines| lines.iter().map(String::as_bytes)),
            if_modified_since: self.if_modified_since.as_deref().map(str::as_bytes),
            if_unmodified_since: self.if_unmodified_since.as_deref().map(str::as_bytes),
        };
        evaluate(preconditions, validators)
    }
}

#[test]
fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
    type Row<'a> = (&'a [(char, &'a str)], Verdict, &'a str);
    #[rustfmt::skip]
    let cases: &[Row<'_>] = &[
        // fields                                verdict      because
        (&[],                                    Proceed, "none"),
        (&[('M', TAG)],                          Proceed, "the tag"),
        (&[('M', "\"a\""), ('M', TAG)],          Proceed, "in the second line"),
        (&[('M', "*")],                          Proceed, "there is one"),
        (&[('M', "\"a\"")],                      Failed,  "another tag"),
        (&[('M', WEAK_TAG)],                     Failed,  "strong comparison"),
        (&[('M', "")],                           Failed,  "an empty list"),
        (&[('M', "a")],                          Failed,  "malformed"),
        (&[('U', BEFORE)],                       Failed,  "modified since"),
        (&[('U', MODIFIED)],                     Proceed, "not since"),
        (&[('U', AFTER)],                        Proceed, "not since"),
        (&[('U', "yesterday")],                  Proceed, "no date: ignored"),
        (&[('M', TAG), ('U', BEFORE)],           Proceed, "If-Match hides the date"),
        (&[('M', "a"), ('U', AFTER)],            Failed,  "also if malformed"),
        (&[('N', TAG)],                          NotModified,  "the tag"),
        (&[('N', WEAK_TAG)],                     NotModified,  "weak comparison"),
        (&[('N', "\"a\""), ('N', TAG)],          NotModified,  "in the second line"),
        (&[('N', "*")],                          NotModified,  "there is one"),
        (&[('N', "\"a\"")],                      Proceed, "another tag"),
        (&[('N', "a")],                          Proceed, "malformed: no 304"),
        (&[('N', "")],                           Proceed, "an empty list"),
        (&[('S', BEFORE)],                       Proceed, "modified since"),
        (&[('S', MODIFIED)],                     NotModified, "not since"),
        (&[('S', AFTER)],                        NotModified, "not since"),
        (&[('S', FUTURE)],                       NotModified, "the future is a date"),
        (&[('S', "0")],                          Proceed, "no date: ignored"),
        (&[('N', "\"a\""), ('S', AFTER)],        Proceed, "the tag hides the date"),
        (&[('N', "a"), ('S', AFTER)],            Proceed, "also if malformed"),
        (&[('N', TAG), ('S', BEFORE)],           NotModified,  "the tag hides the date"),
        (&[('M', TAG), ('N', TAG)],              NotModified,  "both hold"),
        (&[('M', "\"a\""), ('N', TAG)],          Failed,  "If-Match is first"),
        (&[('U', BEFORE), ('S', AFTER)],         Failed,  "412 before 304"),
        (&[('U', AFTER), ('S', AFTER)],          NotModified, "then 304"),
    ];
    for (lines, want, because) in cases {
        let got = Fields::of(lines).verdict(&validators());
        assert_eq!(got, *want, "{lines:?}: {because}");
    }
}

#[test]
fn without_a_tag_nothing_but_a_star_names_the_representation() {
    let untagged = Validators {
        entity_tag: None,
        ..validators()
    };
    let verdict = |name, value| Fields::of(&[(name, value)]).verdict(&untagged);
    assert_eq!(verdict('N', TAG), Proceed);
    assert_eq!(verdict('N', WEAK_TAG), Proceed);
    assert_eq!(verdict('N', "*"), NotModified);
    assert_eq!(verdict('M', TAG), Failed);
    assert_eq!(verdict('M', "*"), Proceed);
    assert!(!if_range_holds(TAG.as_bytes(), &untagged, date(AFTER)));
}

#[test]
fn a_date_counts_as_far_as_it_is_known_to_mean_this_version() {
    let (written, by_hand) = (Origin::Write, Origin::Hand);
    let known = |since, origin| Dating::Known {
        since: date(since),
        origin,
    };
    #[rustfmt::skip]
    let cases = [
        // dating                     date      unchanged If-Range because
        (known(MODIFIED, written),    BEFORE,   false, false, "modified since"),
        (known(MODIFIED, written),    MODIFIED, true,  true,  "its own date"),
        (known(MODIFIED, written),    AFTER,    true,  false, "nothing else was there since"),
        (known(LATER, by_hand),       MODIFIED, true,  false, "its own date, which others may have"),
        (known(LATER, by_hand),       AFTER,    false, false, "something else may have been there"),
        (known(LATER, by_hand),       LATER,    true,  false, "it was there by then"),
        (known(LATER, written),       MODIFIED, true,  true,  "its own date"),
        (Dating::Ambiguous,           BEFORE,   false, false, "modified since"),
        (Dating::Ambiguous,           MODIFIED, false, false, "a date that others have"),
        (Dating::Ambiguous,           FUTURE,   false, false, "no date means it"),
    ];
    for (dating, since, is_unchanged, holds, because) in cases {
        let validators = Validators {
            dating,
            ..validators()
        };
        let verdict = |name| Fields::of(&[(name, since)]).verdict(&validators);
        let (not_sent, passed) = match is_unchanged {
            true => (NotModified, Proceed),
            false => (Proceed, Failed),
        };
        assert_eq!(
            verdict('S'),
            not_sent,
            "If-Modified-Since {since}: {because}"
        );
        assert_eq!(
            verdict('U'),
            passed,
            "If-Unmodified-Since {since}: {because}"
        );
        let got = if_range_holds(since.as_bytes(), &validators, date(FUTURE));
        assert_eq!(got, holds, "If-Range {since}: {because}");
    }
}

#[test]
fn a_part_is_sent_only_of_the_version_that_if_range_names_for_certain() {
    #[rustfmt::skip]
    let cases = [
        // If-Range                           Date      holds  because
        (TAG,                                 MODIFIED, true,  "the tag, at any date"),
        (WEAK_TAG,                            AFTER,    false, "strong comparison"),
        ("\"a\"",                             AFTER,    false, "another tag"),
        ("\"a\", \"3b9aca00-5\"",             AFTER,    false, "no list"),
        ("*",                                 AFTER,    false, "no star"),
        (MODIFIED,                            AFTER,    true,  "a second has passed"),
        (MODIFIED,                            MODIFIED, false, "the same second"),
        (MODIFIED,                            BEFORE,   false, "a clock that went back"),
        ("Sunday, 06-Nov-94 08:49:37 GMT",    AFTER,    true,  "the same in another form"),
        (BEFORE,                              AFTER,    false, "not exactly: earlier"),
        (AFTER,                               FUTURE,   false, "not exactly: later"),
        ("yesterday",                         AFTER,    false, "no date"),
        ("",                                  AFTER,    false, "nothing"),
    ];
    for (field, now, want, because) in cases {
        let got = if_range_holds(field.as_bytes(), &validators(), date(now));
        assert_eq!(got, want, "If-Range: {field} at {now}: {because}");
    }
}

/// Step by step what §13.2.2 says, with the conditions given as true or false.
fn naive(fields: &Fields) -> Verdict {
    let names = |lines: &Vec<String>| lines.iter().any(|line| line.contains(TAG) || line == "*");
    let younger_than = |field: &String| date(MODIFIED) > date(field);
    if let Some(lines) = &fields.if_match {
        if !names(lines) {
            return Failed;
        }
    } else if fields
        .if_unmodified_since
        .as_ref()
        .is_some_and(younger_than)
    {
        return Failed;
    }
    if let Some(lines) = &fields.if_none_match {
        if names(lines) {
            return NotModified;
        }
        return Proceed;
    }
    match &fields.if_modified_since {
        Some(field) if !younger_than(field) => NotModified,
        _ => Proceed,
    }
}

fn tags() -> impl Strategy<Value = Option<Vec<String>>> {
    let line = prop::sample::select(vec![
        TAG,
        "\"a\"",
        "\"a,b\", \"c\"",
        "\"a\", \"3b9aca00-5\"",
    ]);
    prop::option::of(prop_oneof![
        Just(vec!["*".to_owned()]),
        prop::collection::vec(line.prop_map(str::to_owned), 1..3),
    ])
}

fn dates() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec![BEFORE, MODIFIED, AFTER]).prop_map(str::to_owned))
}

proptest! {
    #[test]
    fn every_combination_of_fields_is_judged_as_by_the_steps_of_the_rfc(
        if_match in tags(), if_none_match in tags(),
        if_modified_since in dates(), if_unmodified_since in dates(),
    ) {
        let fields = Fields { if_match, if_none_match, if_modified_since, if_unmodified_since };
        let got = fields.verdict(&validators());
        prop_assert_eq!(got, naive(&fields), "{:?}", fields);
    }

    #[test]
    fn no_bytes_make_the_evaluation_panic(
        if_match: Vec<Vec<u8>>, if_none_match: Vec<Vec<u8>>,
        if_modified_since: Option<Vec<u8>>, if_unmodified_since: Option<Vec<u8>>, field: Vec<u8>,
    ) {
        let preconditions = Preconditions {
            if_match: Some(if_match.iter().map(Vec::as_slice)),
            if_none_match: Some(if_none_match.iter().map(Vec::as_slice)),
            if_modified_since: if_modified_since.as_deref(),
            if_unmodified_since: if_unmodified_since.as_deref(),
        };
        let _ = evaluate(preconditions, &validators());
        let _ = if_range_holds(&field, &validators(), date(AFTER));
    }
}
