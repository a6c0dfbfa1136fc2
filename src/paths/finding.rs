//! What was found out about vantage points before their packets were paired.

/// Something about the vantage points that bears on what can be concluded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Tells the kind; it stays the same from version to version.
    pub code: &'static str,
    /// The evidence, the likely cause, and what helps.
    pub text: String,
    /// That results are doubtful because of it, rather than that something was set right.
    pub is_doubt: bool,
}
