//! Tests that need what a machine may lack.

/// Says that a test, or a part of it, is skipped because this machine lacks `what` it needs: `data` (the reference data), `mount`,
/// `python`, `limits` (of another user's threads), `trace` or `shell`. With `PANTHER_REQUIRE_ALL=1` the test fails instead, unless `PANTHER_MAY_SKIP` names it among
/// others, with commas between them.
#[track_caller]
pub(crate) fn skip(what: &str, why: &str) {
    let requires_all = std::env::var("PANTHER_REQUIRE_ALL").is_ok_and(|all| all == "1");
    let may_skip = std::env::var("PANTHER_MAY_SKIP").unwrap_or_default();
    assert!(
        !requires_all || may_skip.split(',').any(|name| name == what),
        "would be skipped: {why}; PANTHER_MAY_SKIP={what} allows it"
    );
    println!("skipped: {why}");
}
