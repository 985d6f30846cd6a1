//! Tests of preconditions: the order of RFC 9110 §13.2.2, and when a part may be sent.

use super::MethodKind::{GetOrHead, Other};
use super::Verdict::{Failed, NotModified, Proceed};
use super::*;
use proptest::prelude::*;

const TAG: &str = "\"3b9aca00-5\"";
const WEAK_TAG: &str = "W/\"3b9aca00-5\"";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const FUTURE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

fn tag(strength: Strength) -> EntityTag {
    EntityTag::of_version(1, 0, 5, strength)
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

    fn verdict(&self, method: MethodKind, strength: Strength) -> Verdict {
        let validators = Validators {
            entity_tag: &tag(strength),
            last_modified: date(MODIFIED),
        };
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
        evaluate(preconditions, method, &validators)
    }
}

#[test]
fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
    type Row<'a> = (&'a [(char, &'a str)], Verdict, Verdict, &'a str);
    #[rustfmt::skip]
    let cases: &[Row<'_>] = &[
        // fields                                GET          other    because
        (&[],                                    Proceed,     Proceed, "none"),
        (&[('M', TAG)],                          Proceed,     Proceed, "the tag"),
        (&[('M', "\"a\""), ('M', TAG)],          Proceed,     Proceed, "in the second line"),
        (&[('M', "*")],                          Proceed,     Proceed, "there is one"),
        (&[('M', "\"a\"")],                      Failed,      Failed,  "another tag"),
        (&[('M', WEAK_TAG)],                     Failed,      Failed,  "strong comparison"),
        (&[('M', "")],                           Failed,      Failed,  "an empty list"),
        (&[('M', "a")],                          Failed,      Failed,  "malformed"),
        (&[('U', BEFORE)],                       Failed,      Failed,  "modified since"),
        (&[('U', MODIFIED)],                     Proceed,     Proceed, "not since"),
        (&[('U', AFTER)],                        Proceed,     Proceed, "not since"),
        (&[('U', "yesterday")],                  Proceed,     Proceed, "no date: ignored"),
        (&[('M', TAG), ('U', BEFORE)],           Proceed,     Proceed, "If-Match hides the date"),
        (&[('M', "a"), ('U', AFTER)],            Failed,      Failed,  "also if malformed"),
        (&[('N', TAG)],                          NotModified, Failed,  "the tag"),
        (&[('N', WEAK_TAG)],                     NotModified, Failed,  "weak comparison"),
        (&[('N', "\"a\""), ('N', TAG)],          NotModified, Failed,  "in the second line"),
        (&[('N', "*")],                          NotModified, Failed,  "there is one"),
        (&[('N', "\"a\"")],                      Proceed,     Proceed, "another tag"),
        (&[('N', "a")],                          Proceed,     Proceed, "malformed: no 304"),
        (&[('N', "")],                           Proceed,     Proceed, "an empty list"),
        (&[('S', BEFORE)],                       Proceed,     Proceed, "modified since"),
        (&[('S', MODIFIED)],                     NotModified, Proceed, "not since"),
        (&[('S', AFTER)],                        NotModified, Proceed, "not since"),
        (&[('S', FUTURE)],                       NotModified, Proceed, "the future is a date"),
        (&[('S', "0")],                          Proceed,     Proceed, "no date: ignored"),
        (&[('N', "\"a\""), ('S', AFTER)],        Proceed,     Proceed, "the tag hides the date"),
        (&[('N', "a"), ('S', AFTER)],            Proceed,     Proceed, "also if malformed"),
        (&[('N', TAG), ('S', BEFORE)],           NotModified, Failed,  "the tag hides the date"),
        (&[('M', TAG), ('N', TAG)],              NotModified, Failed,  "both hold"),
        (&[('M', "\"a\""), ('N', TAG)],          Failed,      Failed,  "If-Match is first"),
        (&[('U', BEFORE), ('S', AFTER)],         Failed,      Failed,  "412 before 304"),
        (&[('U', AFTER), ('S', AFTER)],          NotModified, Proceed, "then 304"),
    ];
    for (lines, get, other, because) in cases {
        let fields = Fields::of(lines);
        assert_eq!(
            fields.verdict(GetOrHead, Strength::Strong),
            *get,
            "GET {lines:?}: {because}"
        );
        assert_eq!(
            fields.verdict(Other, Strength::Strong),
            *other,
            "other {lines:?}: {because}"
        );
    }
}

#[test]
fn a_weak_tag_gives_304_but_never_passes_if_match() {
    let verdict = |name, value| Fields::of(&[(name, value)]).verdict(GetOrHead, Strength::Weak);
    assert_eq!(verdict('N', TAG), NotModified);
    assert_eq!(verdict('N', WEAK_TAG), NotModified);
    assert_eq!(verdict('M', WEAK_TAG), Failed);
    assert_eq!(verdict('M', TAG), Failed);
    assert_eq!(verdict('M', "*"), Proceed);
}

#[test]
fn a_part_is_sent_only_of_the_version_that_if_range_names_for_certain() {
    use Strength::{Strong, Weak};
    #[rustfmt::skip]
    let cases = [
        // If-Range                           tag     Date      holds  because
        (TAG,                                 Strong, MODIFIED, true,  "the tag, at any date"),
        (WEAK_TAG,                            Strong, AFTER,    false, "strong comparison"),
        (WEAK_TAG,                            Weak,   AFTER,    false, "weak on both sides"),
        (TAG,                                 Weak,   AFTER,    false, "ours is weak"),
        ("\"a\"",                             Strong, AFTER,    false, "another tag"),
        ("\"a\", \"3b9aca00-5\"",             Strong, AFTER,    false, "no list"),
        ("*",                                 Strong, AFTER,    false, "no star"),
        (MODIFIED,                            Strong, AFTER,    true,  "a second has passed"),
        (MODIFIED,                            Strong, MODIFIED, false, "the same second"),
        (MODIFIED,                            Strong, BEFORE,   false, "a clock that went back"),
        (MODIFIED,                            Weak,   AFTER,    false, "could change unseen"),
        ("Sunday, 06-Nov-94 08:49:37 GMT",    Strong, AFTER,    true,  "the same in another form"),
        (BEFORE,                              Strong, AFTER,    false, "not exactly: earlier"),
        (AFTER,                               Strong, FUTURE,   false, "not exactly: later"),
        ("yesterday",                         Strong, AFTER,    false, "no date"),
        ("",                                  Strong, AFTER,    false, "nothing"),
    ];
    for (field, strength, now, want, because) in cases {
        let validators = Validators {
            entity_tag: &tag(strength),
            last_modified: date(MODIFIED),
        };
        let got = if_range_holds(field.as_bytes(), &validators, date(now));
        assert_eq!(got, want, "If-Range: {field} at {now}: {because}");
    }
}

/// Step by step what §13.2.2 says, with the conditions given as true or false.
fn naive(fields: &Fields, method: MethodKind) -> Verdict {
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
            return if method == GetOrHead {
                NotModified
            } else {
                Failed
            };
        }
        return Proceed;
    }
    match &fields.if_modified_since {
        Some(field) if method == GetOrHead && !younger_than(field) => NotModified,
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
        for method in [GetOrHead, Other] {
            let got = fields.verdict(method, Strength::Strong);
            prop_assert_eq!(got, naive(&fields, method), "{:?}", fields);
        }
    }

    #[test]
    fn no_bytes_make_the_evaluation_panic(
        if_match: Vec<Vec<u8>>, if_none_match: Vec<Vec<u8>>,
        if_modified_since: Option<Vec<u8>>, if_unmodified_since: Option<Vec<u8>>, field: Vec<u8>,
    ) {
        let validators =
            Validators { entity_tag: &tag(Strength::Strong), last_modified: date(MODIFIED) };
        let preconditions = Preconditions {
            if_match: Some(if_match.iter().map(Vec::as_slice)),
            if_none_match: Some(if_none_match.iter().map(Vec::as_slice)),
            if_modified_since: if_modified_since.as_deref(),
            if_unmodified_since: if_unmodified_since.as_deref(),
        };
        let _ = evaluate(preconditions, GetOrHead, &validators);
        let _ = if_range_holds(&field, &validators, date(AFTER));
    }
}
