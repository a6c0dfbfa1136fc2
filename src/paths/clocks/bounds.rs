//! What is known of many clocks together: shortest paths over the bounds of all pairs.

/// How much later than the time in common each clock may be, relative to each other one: in nanoseconds; `None` where nothing bounds it.
///
/// The bound from `a` to `b` is the most by which the error of `b` exceeds that of `a`. What bounds `b` by `a`, and `c` by `b`, bounds
/// `c` by `a`.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    vantages: usize,
    most: Vec<Option<i64>>,
}

impl Bounds {
    pub(super) fn new(vantages: usize) -> Bounds {
        let mut bounds = Bounds { vantages, most: vec![None; vantages * vantages] };
        for vantage in 0..vantages {
            bounds.narrow(vantage, vantage, 0);
        }
        bounds
    }

    pub(super) fn get(&self, a: usize, b: usize) -> Option<i64> {
        let is_known = a < self.vantages && b < self.vantages;
        is_known.then(|| self.most.get(a * self.vantages + b).copied().flatten()).flatten()
    }

    /// Takes a bound, unless a narrower one is known.
    pub(super) fn narrow(&mut self, a: usize, b: usize, most_ns: i64) {
        if a < self.vantages
            && let Some(slot) = self.most.get_mut(a * self.vantages + b)
            && slot.is_none_or(|slot| slot > most_ns)
        {
            *slot = Some(most_ns);
        }
    }

    /// Takes all bounds that follow from two others (Floyd and Warshall). Returns whether they leave a solution.
    pub(super) fn close(&mut self) -> bool {
        (0..self.vantages).for_each(|through| self.close_through(through));
        (0..self.vantages).all(|vantage| self.get(vantage, vantage).is_none_or(|most| most >= 0))
    }

    fn close_through(&mut self, through: usize) {
        for a in 0..self.vantages {
            let Some(to) = self.get(a, through) else { continue };
            for b in 0..self.vantages {
                if let Some(from) = self.get(through, b) {
                    self.narrow(a, b, to.saturating_add(from));
                }
            }
        }
    }

    /// Returns errors that keep to all bounds, those of `fixed` being zero, and the others as small as those before allow. `None` where
    /// there are none.
    pub(super) fn settle(&self, fixed: &[bool]) -> Option<Vec<i64>> {
        let mut bounds = self.clone();
        let first = fixed.iter().position(|is_fixed| *is_fixed)?;
        for vantage in (0..self.vantages).filter(|vantage| fixed.get(*vantage) == Some(&true)) {
            bounds.narrow(first, vantage, 0);
            bounds.narrow(vantage, first, 0);
        }
        if !bounds.close() {
            return None;
        }
        let mut errors = vec![0; self.vantages];
        for (vantage, slot) in errors.iter_mut().enumerate() {
            let upper = bounds.get(first, vantage).unwrap_or(i64::MAX);
            let lower = bounds.get(vantage, first).map_or(i64::MIN, i64::saturating_neg);
            let error = 0_i64.clamp(lower, upper.max(lower));
            *slot = error;
            bounds.narrow(first, vantage, error);
            bounds.narrow(vantage, first, error.saturating_neg());
            bounds.close_through(vantage);
            bounds.close_through(first);
        }
        Some(errors)
    }
}
