//! Catches panics of user code, so that they go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls user code; its panic's message when it panics.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = message(&*panic);
        // A panic's payload is user data, and may panic when it is dropped.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(second);
        }
        text
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    format!("panicked: {text}")
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::panic, reason = "panics are what is tested")]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("second");
        }
    }

    #[test]
    fn no_panic_gets_through_and_its_message_does() {
        assert_eq!(catch_panic(|| 5), Ok(5));
        assert_eq!(catch_panic(|| panic!("first")), Err::<(), _>("panicked: first".into()));
        assert_eq!(catch_panic(|| panic!("no {}", 2)), Err::<(), _>("panicked: no 2".into()));
        let bomb = catch_panic(|| std::panic::panic_any(Bomb));
        assert_eq!(bomb, Err::<(), _>("panicked: a panic without a message".into()));
    }
}
