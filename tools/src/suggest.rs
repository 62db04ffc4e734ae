//! "Did you mean": the known word nearest to the one that was typed.

/// The known word that is at most a third of its letters (at least one) away from `typed`.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (distance(typed, word), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Letters to insert, delete, replace or swap with their neighbour to turn one word into the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, letter) in left.chars().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != *other);
            let mut best = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if column > 0 && previous == Some(*other) && right[column - 1] == letter {
                best = best.min(before_last[column - 1] + 1);
            }
            next.push(best);
        }
        before_last = std::mem::replace(&mut last, next);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits_and_swaps() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "id", 2),
            ("tick", "tick", 0),
            ("tikc", "tick", 1),
            ("electon", "election", 1),
            ("tack", "tick", 1),
            ("raft", "log", 4),
        ] {
            assert_eq!(distance(left, right), expected, "{left} to {right}");
            assert_eq!(distance(right, left), expected, "{right} to {left}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["tick", "election", "replication"];
        assert_eq!(nearest("elction", known), Some("election"));
        assert_eq!(nearest("tikc", known), Some("tick"));
        assert_eq!(nearest("colour", known), None);
    }
}
