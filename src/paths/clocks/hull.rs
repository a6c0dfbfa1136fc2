//! The lower hull of points that come in order of time.

use std::cmp::Ordering;

/// Times and differences are smaller than this, and so the products of their differences fit into 128 bits.
pub(super) const X_MAX: u64 = i64::MAX as u64;
/// As [`X_MAX`], for differences of stamps: 146 years.
pub(super) const Y_MAX: u64 = (1 << 62) - 1;

/// A crossing: the time by the first clock, and the difference of its stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: i64,
    /// Which one it is.
    pub(super) index: usize,
}

/// A slope, exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    rise: i64,
    /// Positive.
    run: i64,
}

impl Slope {
    /// Drifts of more than 1000 ppm are no drifts.
    pub(super) const LEAST: Slope = Slope { rise: -1, run: 1000 };

    /// Returns the slope from one point to a later one.
    fn between(left: Point, right: Point) -> Slope {
        Slope { rise: right.y - left.y, run: right.x - left.x }
    }

    pub(super) fn as_f64(self) -> f64 {
        self.rise as f64 / self.run as f64
    }

    pub(super) fn is_steeper(self, other: Slope) -> bool {
        i128::from(self.rise) * i128::from(other.run) > i128::from(other.rise) * i128::from(self.run)
    }

    /// Tells whether there is a number that is at least this slope, and whose negative is at least the other one.
    pub(super) fn leaves_room(self, mirrored: Slope) -> bool {
        i128::from(self.rise) * i128::from(mirrored.run) + i128::from(mirrored.rise) * i128::from(self.run)
            <= 0
    }
}

/// The lower hull of points, from left to right.
#[derive(Clone, Default, Debug)]
pub(super) struct LowerHull {
    points: Vec<Point>,
}

/// The line from a point to the hull on its left such that the whole hull is above the line.
pub(super) enum Tangent {
    /// Nothing is on the left.
    None,
    /// Its slope, and the point that it touches.
    Slope(Slope, Point),
    /// The point is above this one, which has the same time.
    Above(Point),
}

impl LowerHull {
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Moves it.
    pub(super) fn shift(&mut self, x: i64, y: i64) {
        for point in &mut self.points {
            point.x = point.x.saturating_add(x);
            point.y = point.y.saturating_add(y);
        }
    }

    /// Adds a point that is not to the left of any.
    pub(super) fn push(&mut self, point: Point) {
        if let Some(last) = self.points.last()
            && last.x == point.x
        {
            if last.y <= point.y {
                return;
            }
            self.points.pop();
        }
        while let [.., before, last] = self.points.as_slice()
            && turn(*before, *last, point) != Ordering::Greater
        {
            self.points.pop();
        }
        self.points.push(point);
    }

    /// Returns the tangent from a point that is not to the left of any.
    pub(super) fn tangent(&self, point: Point) -> Tangent {
        let mut points = self.points.as_slice();
        if let [rest @ .., last] = points
            && last.x == point.x
        {
            if point.y > last.y {
                return Tangent::Above(*last);
            }
            points = rest;
        }
        // The lines of later edges are higher there.
        let touched = edges(points, |left, right| turn(left, right, point) == Ordering::Greater);
        match points.get(touched) {
            Some(touched) => Tangent::Slope(Slope::between(*touched, point), *touched),
            None => Tangent::None,
        }
    }

    /// Returns the point that a line of this slope touches from below.
    pub(super) fn touched(&self, slope: f64) -> Option<Point> {
        let touched = edges(&self.points, |left, right| Slope::between(left, right).as_f64() < slope);
        self.points.get(touched).copied()
    }

    /// Returns how high a line below the hull can be at `x`, with a slope from `least` to `most`; rounded up.
    pub(super) fn reach(&self, x: i64, least: f64, most: f64) -> Option<i64> {
        let (first, last) = (self.points.first()?, self.points.last()?);
        let slope = if x < first.x {
            least
        } else if x >= last.x {
            most
        } else {
            let edge = edges(&self.points, |_, right| right.x <= x);
            let (left, right) = (self.points.get(edge)?, self.points.get(edge + 1)?);
            let slope = Slope::between(*left, *right).as_f64();
            if slope >= least && slope <= most {
                return Some(height(*left, slope, x));
            }
            slope.clamp(least, most.max(least))
        };
        Some(height(self.touched(slope)?, slope, x))
    }
}

/// Returns the height at `x` of the line of this slope through a point, rounded up.
fn height(point: Point, slope: f64, x: i64) -> i64 {
    point.y.saturating_add((slope * x.saturating_sub(point.x) as f64).ceil() as i64)
}

/// Returns the number of edges that come before the first for which it is false.
fn edges(points: &[Point], is_before: impl Fn(Point, Point) -> bool) -> usize {
    let (mut from, mut to) = (0, points.len().saturating_sub(1));
    while from < to {
        let middle = usize::midpoint(from, to);
        match (points.get(middle), points.get(middle + 1)) {
            (Some(left), Some(right)) if is_before(*left, *right) => from = middle + 1,
            _ => to = middle,
        }
    }
    from
}

/// Tells on which side of the line through two points the third is: `Greater` is above.
fn turn(left: Point, right: Point, point: Point) -> Ordering {
    let rise = i128::from(point.y - left.y) * i128::from(right.x - left.x);
    rise.cmp(&(i128::from(right.y - left.y) * i128::from(point.x - left.x)))
}
