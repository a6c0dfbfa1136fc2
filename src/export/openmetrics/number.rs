//! Numbers as exporters write them.

/// A number as OpenMetrics has them. Integers keep all their digits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// A non-negative integer.
    Unsigned(u64),
    /// An integer.
    Signed(i64),
    /// A floating-point number; infinities and NaN are written as such where they are allowed.
    Float(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        Number::Unsigned(value)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number::Signed(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Number {
        Number::Float(value)
    }
}
