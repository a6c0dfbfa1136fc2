//! What is said of captures beforehand.

/// How clocks are treated.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SurveyOptions {
    /// Leave all times as they are.
    pub clocks_off: bool,
    /// Clocks of which is known how far they are ahead, by the name of the vantage point, in nanoseconds.
    pub clock_offsets: Vec<(String, i64)>,
    /// By how much two clocks may differ at most, in nanoseconds, where the hosts keep them together.
    pub clock_sync_ns: Option<u64>,
    /// For how long a packet may be on its way, in nanoseconds; without it, that follows from the delays.
    pub horizon_ns: Option<u64>,
    /// When captures are known to have ended, in nanoseconds since 1970 by their own clocks, by the name of the vantage point.
    pub captured_until_ns: Vec<(String, u64)>,
}
