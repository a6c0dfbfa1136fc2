//! Between packets there and packets back: where a line can run.

use super::hull::{LowerHull, Point, Slope, Tangent};
use super::line::Line;

/// The lines that are not above any packet there, and not below any back.
///
/// Each pair of a packet there and one back allows slopes on one side of the line through both. All pairs together allow a range of slopes;
/// and where there is one, there is a line. So to add a packet takes one search for the tangent to the other hull.
#[derive(Clone, Debug)]
pub(super) struct Corridor {
    /// Of packets there: lines run below it.
    ceiling: Side,
    /// Of packets back, upside down.
    floor: Side,
}

#[derive(Clone, Debug)]
struct Side {
    hull: LowerHull,
    /// The smallest slope with which a line passes below this hull and above all packets of the other side; upside down likewise.
    least: Slope,
    /// The two crossings that make it.
    by: Option<[usize; 2]>,
}

/// A crossing does not fit. Without one of these, which are in the corridor, it might.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Conflict {
    pub(super) with: [Option<usize>; 3],
}

impl Side {
    fn new() -> Side {
        Side { hull: LowerHull::default(), least: Slope::LEAST, by: None }
    }
}

impl Corridor {
    pub(super) fn new() -> Corridor {
        Corridor { ceiling: Side::new(), floor: Side::new() }
    }

    /// Adds a crossing that is no earlier than any here, if a line is left then.
    pub(super) fn push(&mut self, point: Point, is_back: bool) -> Result<(), Conflict> {
        #[cfg(test)]
        work::add(1);
        let (own, other) =
            if is_back { (&mut self.floor, &mut self.ceiling) } else { (&mut self.ceiling, &mut self.floor) };
        let mirrored = Point { y: -point.y, ..point };
        let (in_own, in_other) = if is_back { (mirrored, point) } else { (point, mirrored) };
        match other.hull.tangent(in_other) {
            Tangent::Above(with) => return Err(Conflict { with: [Some(with.index), None, None] }),
            Tangent::Slope(slope, touched) if slope.is_steeper(other.least) => {
                if !slope.leaves_room(own.least) {
                    let [a, b] = own.by.map_or([None; 2], |pair| pair.map(Some));
                    return Err(Conflict { with: [Some(touched.index), a, b] });
                }
                other.least = slope;
                other.by = Some([touched.index, point.index]);
            }
            Tangent::Slope(..) | Tangent::None => {}
        }
        own.hull.push(in_own);
        Ok(())
    }

    /// Moves it: in time, and in offset.
    pub(super) fn shift(&mut self, x: i64, y: i64) {
        self.ceiling.hull.shift(x, y);
        self.floor.hull.shift(x, -y);
    }

    pub(super) fn has_both(&self) -> bool {
        !self.ceiling.hull.is_empty() && !self.floor.hull.is_empty()
    }

    /// Returns the smallest and the largest slope of a line.
    pub(super) fn slopes(&self) -> (f64, f64) {
        let least = self.ceiling.least.as_f64();
        (least, (-self.floor.least.as_f64()).max(least))
    }

    /// Returns how high a line can be at `x`.
    pub(super) fn upper(&self, x: i64) -> Option<i64> {
        let (least, most) = self.slopes();
        self.ceiling.hull.reach(x, least, most)
    }

    /// Returns how low a line can be at `x`.
    pub(super) fn lower(&self, x: i64) -> Option<i64> {
        let (least, most) = self.slopes();
        self.floor.hull.reach(x, -most, -least).map(|y| -y)
    }

    /// Returns the room above a line and below it, in nanoseconds: negative where it does not run in the corridor.
    pub(super) fn room(&self, line: &Line) -> (Option<i64>, Option<i64>) {
        let above = self.ceiling.hull.touched(line.slope);
        let below = self.floor.hull.touched(-line.slope);
        (
            above.map(|point| point.y.saturating_sub(line.at(point.x.unsigned_abs()))),
            below.map(|point| line.at(point.x.unsigned_abs()).saturating_add(point.y)),
        )
    }

    /// Tells whether a line runs in the corridor; to a nanosecond, by which times and slopes are rounded.
    pub(super) fn fits(&self, line: &Line) -> bool {
        let (above, below) = self.room(line);
        above.is_none_or(|room| room >= -1) && below.is_none_or(|room| room >= -1)
    }

    /// Tells whether a line without slope runs in the corridor.
    pub(super) fn has_constant(&self) -> bool {
        match self.room(&Line::constant(0)) {
            (Some(above), Some(below)) => i128::from(above) + i128::from(below) >= 0,
            _ => true,
        }
    }

    /// Returns the line of this slope in the middle, or at the bound where there is but one, and the height of the corridor along it.
    pub(super) fn middle(&self, slope: f64, at_ns: u64) -> (Line, Option<u64>) {
        let line = Line { at_ns, offset_ns: 0, slope };
        match self.room(&line) {
            (Some(above), Some(below)) => {
                let (above, below) = (i128::from(above), i128::from(below));
                let offset_ns = ((above - below).div_euclid(2)) as i64;
                (line.raised(offset_ns), Some(u64::try_from((above + below).max(0)).unwrap_or(u64::MAX)))
            }
            (Some(above), None) => (line.raised(above), None),
            (None, Some(below)) => (line.raised(below.saturating_neg()), None),
            (None, None) => (line, None),
        }
    }

    /// Returns the slope along which the corridor is highest.
    pub(super) fn widest(&self) -> f64 {
        let (least, most) = self.slopes();
        // The height is concave: it grows with the slope as long as the line touches the floor to the right of the ceiling.
        let grows = |slope: f64, or_stays: bool| {
            let above = self.ceiling.hull.touched(slope);
            let below = self.floor.hull.touched(-slope);
            match (above, below) {
                (Some(above), Some(below)) => below.x > above.x || (or_stays && below.x == above.x),
                _ => false,
            }
        };
        let turning = |or_stays: bool| {
            let (mut from, mut to) = (least, most);
            for _ in 0..48 {
                let middle = f64::midpoint(from, to);
                if grows(middle, or_stays) {
                    from = middle;
                } else {
                    to = middle;
                }
            }
            f64::midpoint(from, to)
        };
        f64::midpoint(turning(false), turning(true))
    }
}

/// How much was done, on this thread.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<u64> = const { Cell::new(0) };
    }

    pub(in crate::paths::clocks) fn add(steps: usize) {
        DONE.set(DONE.get() + steps as u64);
    }

    pub(in crate::paths::clocks) fn done() -> u64 {
        DONE.get()
    }
}
