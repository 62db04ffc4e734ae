//! Result lines as they were printed, and what is asked of them.

use serde_json::Value;

use crate::report::versus::median;

/// A number of a line.
pub(crate) fn number(line: &Value, name: &str) -> Option<f64> {
    line.get(name)?.as_f64()
}

/// A word of a line.
pub(crate) fn word<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line.get(name)?.as_str()
}

/// Some lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines<'a>(Vec<&'a Value>);

impl<'a> Lines<'a> {
    /// All of these.
    pub(crate) fn new(lines: impl IntoIterator<Item = &'a Value>) -> Self {
        Self(lines.into_iter().collect())
    }

    /// Those that have this word under that name.
    pub(crate) fn with(&self, name: &str, is: &str) -> Self {
        self.that(|line| word(line, name) == Some(is))
    }

    /// Those that have this number under that name.
    pub(crate) fn at(&self, name: &str, is: f64) -> Self {
        self.that(|line| number(line, name) == Some(is))
    }

    /// Those that have the first one's number under that name; all where it has none.
    pub(crate) fn like_first(&self, name: &str) -> Self {
        let first = self.0.first().and_then(|line| number(line, name));
        first.map_or_else(|| self.clone(), |first| self.at(name, first))
    }

    /// Those about all kinds of operations.
    pub(crate) fn about_all(&self) -> Self {
        self.that(|line| line.get("operation").is_none())
    }

    /// Those without a rate that the clock asks for.
    pub(crate) fn closed(&self) -> Self {
        self.that(|line| line.get("wanted_per_s").is_none())
    }

    /// Those with one.
    pub(crate) fn open(&self) -> Self {
        self.that(|line| line.get("wanted_per_s").is_some())
    }

    /// A number of each that has it.
    pub(crate) fn all(&self, name: &str) -> Vec<f64> {
        self.0.iter().filter_map(|line| number(line, name)).collect()
    }

    /// The median of a number; `None` where there is none.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.all(name).into_iter())
    }

    /// The different values of a number, ascending.
    pub(crate) fn distinct(&self, name: &str) -> Vec<f64> {
        let mut numbers = self.all(name);
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        numbers
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Value> {
        self.0.iter().copied()
    }

    fn that(&self, is: impl Fn(&Value) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|line| is(line)).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_chosen_by_words_and_numbers_and_their_median_is_taken() {
        let all = [
            json!({"system": "margate", "in_flight": 1, "ops_per_s": 10.0}),
            json!({"system": "margate", "in_flight": 1, "ops_per_s": 30.0}),
            json!({"system": "margate", "in_flight": 8, "ops_per_s": 99.0, "wanted_per_s": 100}),
            json!({"system": "etcd", "in_flight": 1, "ops_per_s": 1.0, "operation": "read"}),
        ];
        let lines = Lines::new(&all);
        let ours = lines.with("system", "margate");
        assert_eq!(ours.at("in_flight", 1.0).median("ops_per_s"), Some(20.0));
        assert_eq!(ours.closed().iter().count(), 2);
        assert_eq!(ours.open().all("ops_per_s"), [99.0]);
        assert_eq!(lines.about_all().iter().count(), 3);
        assert_eq!(lines.distinct("in_flight"), [1.0, 8.0]);
        assert_eq!(lines.with("system", "redis").median("ops_per_s"), None);
    }
}
