//! Content codings, and the choice of one by Accept-Encoding.
//!
//! RFC 9110 §8.4.1 (codings), §12.4.2 (weights), §12.5.3 (Accept-Encoding). Codes nothing: the
//! files are coded already.

/// A coding that a representation may be stored in.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Hash)]
pub enum Coding {
    /// None: the file itself.
    Identity,
    /// gzip, RFC 1952.
    Gzip,
    /// Brotli, RFC 7932.
    Brotli,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// All codings, the one first that is taken when the client likes several equally: Brotli makes the
/// smallest files at the levels that precompression uses, then Zstandard, then gzip.
const PREFERENCE: [Coding; 4] = [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity];

impl Coding {
    /// The name in Accept-Encoding and Content-Encoding.
    pub fn token(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    /// What the name of a precompressed variant adds to the name of the file; empty for the file.
    pub fn suffix(self) -> &'static str {
        match self {
            Coding::Identity => "",
            Coding::Gzip => ".gz",
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
        }
    }

    fn of(token: &[u8]) -> Option<Coding> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Coding::Gzip); // RFC 9110 §8.4.1.3
        }
        PREFERENCE
            .into_iter()
            .find(|coding| token.eq_ignore_ascii_case(coding.token().as_bytes()))
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of codings.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Hash)]
pub struct CodingSet(u8);

impl CodingSet {
    /// Adds a coding; adding it twice is adding it once.
    pub fn insert(&mut self, coding: Coding) {
        self.0 |= coding.bit();
    }

    /// Whether a coding is in the set.
    pub fn contains(self, coding: Coding) -> bool {
        self.0 & coding.bit() != 0
    }

    /// Whether no coding is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The codings of the set, the preferred one first.
    pub fn iter(self) -> impl Iterator<Item = Coding> {
        PREFERENCE
            .into_iter()
            .filter(move |coding| self.contains(*coding))
    }
}

/// Chooses the coding of the answer from those that the representation is `available` in.
///
/// `accept_encoding` are the lines of the field. The identity coding is always available. The
/// highest weight wins; equal weights are decided by our preference, br, zstd, gzip, identity.
///
/// Without the field, or with an empty one, the answer is not coded: §12.5.3 would allow any coding
/// in the first case, but clients that do not send the field are the ones that cannot decode. A
/// client that names codings and does not mention identity gets one of them, if there is one: it
/// accepts identity, but asked for better. If nothing is acceptable (`identity;q=0`, and no coding
/// that it takes), the answer is not coded either: §12.4.1 lets a server disregard the field rather
/// than send a 406 that nobody can use.
///
/// A malformed member (a bad weight, a parameter other than `q`, no token) is ignored, the others
/// count. A coding named twice (gzip and x-gzip are one) has the lower of its weights, so that a
/// coding that is refused anywhere is never sent. Runs in `O(length of all lines)`; does not
/// allocate.
///
/// # Source
/// RFC 9110 §8.4.1, §12.4.1, §12.4.2, §12.5.3.
pub fn choose<'a>(
    accept_encoding: impl IntoIterator<Item = &'a [u8]>,
    available: CodingSet,
) -> Coding {
    if available.is_empty() {
        return Coding::Identity;
    }
    let mut weights = Weights::default();
    for line in accept_encoding {
        line.split(|byte| *byte == b',')
            .for_each(|member| weights.take(member));
    }
    weights.best(available)
}

/// What Accept-Encoding says, in thousandths; `None` where it says nothing.
#[derive(Default)]
struct Weights {
    /// By `Coding as usize`.
    named: [Option<u16>; PREFERENCE.len()],
    /// `*`: those that are not named.
    others: Option<u16>,
}

impl Weights {
    fn take(&mut self, member: &[u8]) {
        let Some((token, weight)) = split_weight(member.trim_ascii()) else {
            return;
        };
        let place = match Coding::of(token) {
            Some(coding) => &mut self.named[coding as usize],
            None if token == b"*" => &mut self.others,
            None => return,
        };
        *place = Some(place.map_or(weight, |before| before.min(weight)));
    }

    fn best(&self, available: CodingSet) -> Coding {
        let mut best = (Coding::Identity, 0);
        for coding in PREFERENCE {
            let weight = self.named[coding as usize].or(self.others).unwrap_or(0);
            let stored = coding == Coding::Identity || available.contains(coding);
            if stored && weight > best.1 {
                best = (coding, weight);
            }
        }
        best.0
    }
}

/// Splits a member into its token and its weight in thousandths, 1000 if it has none. `None` if
/// the weight is malformed. Whether the token is one shows when it is looked up.
fn split_weight(member: &[u8]) -> Option<(&[u8], u16)> {
    let Some(semicolon) = member.iter().position(|byte| *byte == b';') else {
        return Some((member, 1000));
    };
    let weight = member[semicolon + 1..].trim_ascii_start();
    let [b'q' | b'Q', b'=', value @ ..] = weight else {
        return None;
    };
    Some((member[..semicolon].trim_ascii_end(), quality(value)?))
}

/// A qvalue in thousandths: 0 to 1 with at most three digits after the point.
fn quality(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0') * 1000;
    for (digit, unit) in digits.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Gzip, Identity, Zstd};
    use super::*;
    use proptest::prelude::*;

    const ALL: &[Coding] = &[Gzip, Brotli, Zstd];

    fn set(codings: &[Coding]) -> CodingSet {
        let mut set = CodingSet::default();
        codings.iter().for_each(|coding| set.insert(*coding));
        set
    }

    #[test]
    fn the_coding_with_the_highest_weight_is_chosen() {
        #[rustfmt::skip]
        let cases: &[(&[&str], &[Coding], Coding, &str)] = &[
            (&["gzip, deflate, br, zstd"],       ALL,     Brotli,   "what browsers send"),
            (&["gzip, deflate, br, zstd"],       &[Gzip, Zstd], Zstd, "without br"),
            (&["gzip, deflate, br, zstd"],       &[Gzip], Gzip,     "only gzip"),
            (&["gzip, deflate, br, zstd"],       &[],     Identity, "nothing coded"),
            (&["gzip, deflate"],                 &[Brotli], Identity, "not accepted"),
            (&[],                                ALL,     Identity, "no field"),
            (&[""],                              ALL,     Identity, "an empty field"),
            (&[" , ,"],                          ALL,     Identity, "empty members"),
            (&["gzip", "br"],                    ALL,     Brotli,   "lines are one list"),
            (&["GZIP"],                          ALL,     Gzip,     "any case"),
            (&["x-gzip"],                        ALL,     Gzip,     "an old name"),
            (&["br;q=0.5, gzip"],                ALL,     Gzip,     "the client prefers"),
            (&["br ; q=0.999,gzip;\tQ=1.000"],   ALL,     Gzip,     "whitespace, any case of q"),
            (&["br;q=0.001"],                    ALL,     Brotli,   "the lowest weight"),
            (&["br;q=0, gzip;q=0.000"],          ALL,     Identity, "refused"),
            (&["*"],                             ALL,     Brotli,   "anything"),
            (&["*;q=0.5, gzip"],                 ALL,     Gzip,     "the rest less"),
            (&["br;q=0, *"],                     ALL,     Zstd,     "anything but br"),
            (&["*;q=0"],                         ALL,     Identity, "nothing acceptable"),
            (&["identity;q=0"],                  ALL,     Identity, "nothing acceptable"),
            (&["identity;q=0, *"],               ALL,     Brotli,   "anything coded"),
            (&["identity;q=0, gzip;q=0.1"],      ALL,     Gzip,     "rather than none"),
            (&["identity, gzip;q=0.5"],          ALL,     Identity, "the client prefers none"),
            (&["identity, gzip"],                ALL,     Gzip,     "a tie: ours"),
            (&["gzip;q=0.2, *;q=0.8"],           &[Gzip], Identity, "* covers identity too"),
            (&["gzip;q=0.5"],                    ALL,     Gzip,     "identity not mentioned"),
            (&["gzip;q=1.001"],                  ALL,     Identity, "above 1: ignored"),
            (&["gzip;q=0.1234"],                 ALL,     Identity, "four digits: ignored"),
            (&["gzip;q=.5"],                     ALL,     Identity, "no digit: ignored"),
            (&["gzip;q=0.5.5"],                  ALL,     Identity, "two points: ignored"),
            (&["gzip;q=-1"],                     ALL,     Identity, "a sign: ignored"),
            (&["gzip;q="],                       ALL,     Identity, "no value: ignored"),
            (&["gzip;q =1"],                     ALL,     Identity, "a space: ignored"),
            (&["gzip;"],                         ALL,     Identity, "no weight: ignored"),
            (&["gzip;level=9"],                  ALL,     Identity, "a parameter: ignored"),
            (&["gzip;q=1;q=1"],                  ALL,     Identity, "two weights: ignored"),
            (&["gzip;q=x, br;q=0.1"],            ALL,     Brotli,   "the others count"),
            (&["gzip;q=1., br;q=0."],            ALL,     Gzip,     "a point and no digits"),
            (&["gzip br"],                       ALL,     Identity, "no comma: unknown"),
            (&["gzip, x-gzip;q=0"],              &[Gzip], Identity, "refused under one name"),
            (&["br;q=0, br"],                    &[Brotli], Identity, "refused once"),
            (&["deflate, sdch, \"br\""],         ALL,     Identity, "unknown"),
        ];
        for (lines, available, want, because) in cases {
            let got = choose(lines.iter().map(|line| line.as_bytes()), set(available));
            assert_eq!(
                got, *want,
                "Accept-Encoding: {lines:?} of {available:?}: {because}"
            );
        }
    }

    #[test]
    fn a_set_holds_what_was_inserted_in_order_of_preference() {
        let some = set(&[Gzip, Zstd, Gzip]);
        assert!(some.contains(Gzip) && some.contains(Zstd) && !some.contains(Brotli));
        assert!(CodingSet::default().is_empty() && !some.is_empty());
        assert_eq!(some.iter().collect::<Vec<_>>(), [Zstd, Gzip]);
        assert_eq!(set(&PREFERENCE).iter().collect::<Vec<_>>(), PREFERENCE);
    }

    fn coding() -> impl Strategy<Value = Coding> {
        prop::sample::select(PREFERENCE.to_vec())
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_choice_panic(lines: Vec<Vec<u8>>) {
            let _ = choose(lines.iter().map(Vec::as_slice), set(ALL));
        }

        #[test]
        fn no_field_like_bytes_choose_what_is_not_there(
            line in r"(gzip|br|zstd|identity|x-gzip|\*|;q=|;|,| |0|1|\.|5){0,16}",
            available in prop::collection::vec(coding(), 0..3),
        ) {
            let chosen = choose([line.as_bytes()], set(&available));
            prop_assert!(chosen == Identity || available.contains(&chosen));
        }

        /// The model looks at every pair of codings, with weights in tenths.
        #[test]
        fn nothing_available_is_liked_better_than_what_is_chosen(
            members in prop::collection::vec((coding(), 0..=10_u16), 0..6),
            available in prop::collection::vec(coding(), 1..4),
        ) {
            let line: Vec<_> = members
                .iter()
                .map(|(coding, q)| format!("{};q={}.{}", coding.token(), q / 10, q % 10))
                .collect();
            let chosen = choose([line.join(", ").as_bytes()], set(&available));
            let liking = |coding: Coding| {
                let named = members.iter().filter(|(name, _)| *name == coding);
                named.map(|(_, q)| *q).min().unwrap_or(0)
            };
            for other in available.iter().chain([&Identity]) {
                prop_assert!(liking(*other) <= liking(chosen));
            }
        }
    }
}
