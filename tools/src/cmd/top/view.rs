//! One picture of what happened between two looks: a headline, the cores, where the time went, why some do not answer.
//!
//! Not here, on purpose: the terminal (`screen`), numbers (`between`).

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::between::{Between, CoreRow};
use super::plain::{CORE_COLUMNS, core_cells, headline, span_rows, why_down};
use crate::cmd::spans;

/// Columns of each table's columns, in letters.
const CORE_WIDTHS: [u16; CORE_COLUMNS.len()] = [4, 4, 9, 8, 8, 8, 8, 8, 8, 9, 9, 8, 10, 10, 16, 8, 6];
const SPAN_WIDTHS: [u16; spans::COLUMNS.len()] = [9, 12, 10, 8, 8, 8, 8];

/// Whether what needs eyes is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Some,
    None,
}

/// Draws it; before two looks are done there is nothing to show but that.
pub(super) fn draw(frame: &mut Frame<'_>, between: Option<&Between>, colours: Colours) {
    let Some(between) = between else {
        return frame.render_widget(Paragraph::new("margate top: looking twice ...  (q ends)"), frame.area());
    };
    let down = why_down(between);
    let rows = |count: usize| u16::try_from(count + 1).unwrap_or(u16::MAX);
    let parts = [
        Constraint::Length(2),
        Constraint::Length(rows(between.cores.len() + 1)),
        Constraint::Min(3),
        Constraint::Length(rows(down.len())),
    ];
    let [top, cores, spans, bottom] = Layout::vertical(parts).areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Line::styled(headline(between), bold)), top);
    let table = Table::new(between.cores.iter().map(|row| core_row(row, colours)), CORE_WIDTHS);
    frame.render_widget(table.header(Row::new(CORE_COLUMNS).style(bold)), cores);
    let table = Table::new(span_rows(between).map(Row::new), SPAN_WIDTHS);
    frame.render_widget(table.header(Row::new(spans::COLUMNS).style(bold)), spans);
    let lines = down.into_iter().chain(["q ends".to_owned()]);
    frame.render_widget(Paragraph::new(lines.map(Line::from).collect::<Vec<_>>()), bottom);
}

fn core_row(row: &CoreRow, colours: Colours) -> Row<'static> {
    let stalls = |row: &CoreRow| row.did.as_ref().ok()?.rates.as_ref().map(|rates| rates.stalls);
    let bad = row.did.is_err() || stalls(row).is_some_and(|stalls| stalls > 0);
    let style = match colours {
        Colours::Some if bad => Style::new().fg(Color::Red),
        Colours::Some | Colours::None => Style::new(),
    };
    Row::new(core_cells(row).into_iter().map(Cell::from)).style(style)
}

#[cfg(test)]
mod tests {
    use super::super::between::tests::two_seconds;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(between: Option<&Between>, (columns, lines): (u16, u16)) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, between, Colours::Some)).expect("it is drawn");
        let buffer = terminal.backend().buffer();
        let line = |y| {
            (0..columns)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
                .trim_end()
                .to_owned()
        };
        (0..lines).map(line).collect()
    }

    #[test]
    fn the_picture_shows_cores_spans_and_who_is_down() {
        let lines = drawn(Some(&two_seconds()), (170, 20));
        assert!(
            lines[0].contains("500 writes/s") && lines[0].contains("2 without leader"),
            "{}",
            lines[0]
        );
        assert!(
            lines[2].starts_with("node core leads") && lines[3].starts_with("1    0    1 of 2    500"),
            "{lines:#?}"
        );
        assert!(lines[5].starts_with("3    0    down"), "{lines:#?}");
        assert!(lines[7].starts_with("of        until") && lines[8].contains("set"), "{lines:#?}");
        assert!(
            lines[18].starts_with("node 3, core 0, no answer: ") && lines[19] == "q ends",
            "{lines:#?}"
        );
    }

    #[test]
    fn a_small_terminal_and_no_looks_are_no_trouble() {
        assert!(drawn(None, (40, 3))[0].starts_with("margate top"));
        for size in [(1, 1), (20, 4), (80, 6)] {
            drawn(Some(&two_seconds()), size);
        }
    }
}
