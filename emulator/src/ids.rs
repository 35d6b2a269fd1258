//! Identifiers that look like AWS's and are the same in every run, so that snapshots hold.

/// Hands out identifiers.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    handed_out: u64,
}

impl Ids {
    /// `cvpn-connection-` and 17 hexadecimal digits.
    pub(crate) fn connection(&mut self) -> String {
        format!("cvpn-connection-0{:016x}", self.next())
    }

    /// `cvpn-endpoint-` and 17 hexadecimal digits.
    pub(crate) fn endpoint(&mut self) -> String {
        format!("cvpn-endpoint-0{:016x}", self.next())
    }

    /// A request id in the shape of a UUID.
    pub(crate) fn request(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// SplitMix64. Plain counting would do, but then identifiers would sort in the order of creation, and a program
    /// that sorts by the wrong key would pass its tests.
    fn next(&mut self) -> u64 {
        self.handed_out = self.handed_out.wrapping_add(1);
        let mut mixed = self.handed_out.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_length_of_aws_identifiers_and_do_not_repeat() {
        let mut ids = Ids::default();
        let (first, second) = (ids.connection(), ids.connection());
        assert_ne!(first, second);
        assert_eq!(first.len(), "cvpn-connection-".len() + 17);
        assert_eq!(ids.endpoint().len(), "cvpn-endpoint-".len() + 17);
        assert_eq!(ids.request().len(), 36);
    }

    #[test]
    fn every_run_hands_out_the_same_identifiers() {
        assert_eq!(Ids::default().connection(), Ids::default().connection());
    }
}
