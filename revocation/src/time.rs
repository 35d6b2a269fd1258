//! Instants, as every entry, lock and answer writes them: RFC 3339, UTC, milliseconds, `Z`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Before this a producer's clock is not believed: no identity provider's event about Client VPN (2018) is older.
const PLAUSIBLE_FROM: Timestamp = Timestamp(1_420_070_400_000); // 2015-01-01

/// The first instant with a four-digit year.
const EARLIEST: i64 = -62_167_219_200_000;

/// The last instant that is one in every time zone, `9999-12-30T22:00:00.000Z`; jiff counts no later one. So every text
/// form has the same width and sorts as time does.
const LATEST: i64 = 253_402_207_200_000;

/// An instant with millisecond resolution.
///
/// Its text form is `2026-03-01T09:30:00.000Z`; text order is time order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z, held between the years 0 and 9999.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        // `clamp` is not const.
        match millis {
            ..EARLIEST => Self(EARLIEST),
            EARLIEST..=LATEST => Self(millis),
            _ => Self(LATEST),
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, as DynamoDB's time to live wants them.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Reads an RFC 3339 instant with any offset; finer digits than milliseconds are cut off.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.trim().parse().ok()?;
        Some(Self::from_millis(instant.as_millisecond()))
    }

    /// Reads an instant as producers of events write it: RFC 3339, the same without an offset or with `UTC` (which is
    /// UTC), a date of the form `3/1/2026 9:30:00 AM`, or a whole number of seconds or milliseconds since 1970.
    ///
    /// Seconds and milliseconds are told apart by size: seconds do not reach twelve digits before the year 5138, and
    /// milliseconds had twelve in 1973.
    #[must_use]
    pub fn parse_any(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(number) = text.parse::<i64>() {
            let millis = if number.unsigned_abs() < 100_000_000_000 { number.checked_mul(1000)? } else { number };
            return Some(Self::from_millis(millis));
        }
        let civil = text.strip_suffix("UTC").map_or(text, str::trim_end);
        let forms = ["%m/%d/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S%.fZ"];
        Self::parse(text).or_else(|| Self::parse_client_vpn(civil)).or_else(|| {
            let read = forms.iter().find_map(|form| jiff::civil::DateTime::strptime(form, civil).ok())?;
            let instant = jiff::tz::TimeZone::UTC.to_timestamp(read).ok()?;
            Some(Self::from_millis(instant.as_millisecond()))
        })
    }

    /// Reads the form in which Client VPN reports connections, `2026-03-01 09:30:00`, which is UTC without saying so.
    ///
    /// `-`, `NA` and the empty text stand for "none" there.
    #[must_use]
    pub fn parse_client_vpn(text: &str) -> Option<Self> {
        let civil: jiff::civil::DateTime = text.trim().parse().ok()?;
        let instant = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
        Some(Self::from_millis(instant.as_millisecond()))
    }

    /// The day part, `2026-03-01`.
    #[must_use]
    pub fn day(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// The day and the hour, `2026-03-01T09`.
    #[must_use]
    pub fn hour(self) -> String {
        self.to_string().chars().take(13).collect()
    }

    /// This instant moved forward.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(LATEST);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// This instant moved back.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(LATEST);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero where it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant that an ISO 8601 duration (`PT12H`, `P1D`, `P1M`) leads to from here, in UTC.
    ///
    /// # Errors
    /// What is wrong with the text: it is no such duration, is not positive, or leads beyond the year 9999.
    pub fn after_iso_duration(self, text: &str) -> Result<Self, String> {
        let wrong = || "is not a positive ISO 8601 duration such as PT12H or P7D".to_owned();
        let text = text.trim();
        if !text.starts_with('P') {
            // The parser also takes `12h`, which is no ISO 8601.
            return Err(wrong());
        }
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let start = jiff::Timestamp::from_millisecond(self.0).map_err(|_| wrong())?;
        let end = start
            .to_zoned(jiff::tz::TimeZone::UTC)
            .checked_add(span)
            .map_err(|_| "leads beyond the year 9999".to_owned())?;
        let end = Self::from_millis(end.timestamp().as_millisecond());
        if end > self { Ok(end) } else { Err(wrong()) }
    }

    /// The instant from which a statement counts: the earlier of what its producer says and when it was received;
    /// the latter alone where the producer's word is absent or absurd.
    ///
    /// A clock that runs ahead must not let an old statement win over a newer one; a clock that stands at 1970 must
    /// not make a revocation older than everything.
    #[must_use]
    pub fn as_of(occurred: Option<Self>, received: Self) -> Self {
        match occurred {
            Some(at) if at >= PLAUSIBLE_FROM => at.min(received),
            _ => received,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 instant")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_write_instants_in_many_ways() {
        let expected = Timestamp::parse("2026-03-01T09:30:00Z");
        for text in [
            "2026-03-01T09:30:00Z",
            "2026-03-01T10:30:00.0000000+01:00",
            "2026-03-01 09:30:00 UTC",
            "2026-03-01T09:30:00",
            "2026-03-01T9:30:00.000Z",
            "3/1/2026 9:30:00 AM",
            "1772357400",
            "1772357400000",
        ] {
            assert_eq!(Timestamp::parse_any(text), expected, "{text}");
        }
        for text in ["", "yesterday", "2026", "9:30", "1e9", "99999999999999999999", "-9223372036854775808"] {
            assert!(Timestamp::parse_any(text).is_none_or(|at| at < PLAUSIBLE_FROM), "{text}");
        }
    }
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_text_form_has_milliseconds_and_z() {
        assert_eq!(at("2026-03-01T10:30:00+01:00").to_string(), "2026-03-01T09:30:00.000Z");
        assert_eq!(at("2026-03-01T09:30:00.123999Z").to_string(), "2026-03-01T09:30:00.123Z");
        assert_eq!(at("2026-03-01T23:30:00Z").day(), "2026-03-01");
        assert_eq!(at("2026-03-01T23:59:59.999Z").hour(), "2026-03-01T23");
    }

    #[test]
    fn instants_are_held_where_every_text_has_one_width() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(first.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(last.to_string(), "9999-12-30T22:00:00.000Z");
        for end in [first, last] {
            assert_eq!(Timestamp::parse(&end.to_string()), Some(end));
        }
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(last.plus(Duration::MAX), last);
        assert_eq!(first.minus(Duration::MAX), first);
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_size() {
        assert_eq!(Timestamp::parse_any("99999999999"), Some(at("5138-11-16T09:46:39Z")));
        assert_eq!(Timestamp::parse_any("100000000000"), Some(at("1973-03-03T09:46:40Z")));
    }

    #[test]
    fn an_instant_moves_by_a_duration_and_knows_how_long_ago_another_was() {
        let (now, second) = (at("2026-03-01T09:30:00Z"), Duration::from_secs(1));
        assert_eq!((now.plus(second), now.minus(second)), (at("2026-03-01T09:30:01Z"), at("2026-03-01T09:29:59Z")));
        assert_eq!((now.plus(second).since(now), now.since(now.plus(second))), (second, Duration::ZERO));
        let millis = [1_999, 2_000, -1].map(|millis| Timestamp::from_millis(millis).as_seconds());
        assert_eq!(millis, [1, 2, -1], "whole seconds, cut off");
    }

    #[test]
    fn json_holds_the_text_form_and_nothing_else_is_read() {
        let json = serde_json::json!(at("2026-03-01T09:30:00Z"));
        assert_eq!(json, "2026-03-01T09:30:00.000Z");
        assert_eq!(serde_json::from_value::<Timestamp>(json).unwrap(), at("2026-03-01T09:30:00Z"));
        let wrong = serde_json::from_str::<Timestamp>(r#""yesterday""#).unwrap_err();
        assert_eq!(wrong.to_string(), "`yesterday` is not an RFC 3339 instant");
    }

    #[test]
    fn client_vpn_times_are_utc_and_placeholders_are_none() {
        assert_eq!(Timestamp::parse_client_vpn("2026-03-01 09:30:00"), Some(at("2026-03-01T09:30:00Z")));
        for none in ["-", "NA", "", "yesterday"] {
            assert_eq!(Timestamp::parse_client_vpn(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_producer_is_believed_only_about_the_plausible_past() {
        let received = at("2026-03-01T09:30:00Z");
        let cases = [
            (Some("2026-03-01T09:29:00Z"), "2026-03-01T09:29:00Z"),
            (Some("2026-03-01T09:31:00Z"), "2026-03-01T09:30:00Z"),
            (Some("2031-01-01T00:00:00Z"), "2026-03-01T09:30:00Z"),
            (Some("1970-01-01T00:00:00Z"), "2026-03-01T09:30:00Z"),
            (None, "2026-03-01T09:30:00Z"),
        ];
        for (occurred, expected) in cases {
            assert_eq!(Timestamp::as_of(occurred.map(at), received), at(expected), "{occurred:?}");
        }
    }

    #[test]
    fn durations_must_be_iso_8601_and_positive() {
        let now = at("2026-01-31T00:00:00Z");
        assert_eq!(now.after_iso_duration("PT12H"), Ok(at("2026-01-31T12:00:00Z")));
        assert_eq!(now.after_iso_duration("P1M"), Ok(at("2026-02-28T00:00:00Z")));
        for wrong in ["12h", "", "PT0S", "-PT1H", "P99999Y", "PT"] {
            assert!(now.after_iso_duration(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_reads_back_and_sorts_as_text(a in -62_167_219_200_000_i64..=LATEST, b in 0..=LATEST) {
            let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
            prop_assert_eq!(Timestamp::parse(&a.to_string()), Some(a));
            if a.0 >= 0 {
                prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            }
        }
    }
}
