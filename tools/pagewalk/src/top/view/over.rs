//! What lies over the panes: a text, or a line that is typed.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::Line,
    widgets::Paragraph,
};

use super::{panes::framed, table::cells_of};
use crate::top::{
    model::Model,
    ui::{Over, Pane, Question, Ui},
};

/// The text, from the line that the user has come to.
pub fn text(frame: &mut Frame<'_>, ui: &mut Ui, area: Rect) {
    let Some(Over::Text { title, lines, top }) = &mut ui.over else { return };
    let room = usize::from(area.height.saturating_sub(2));
    let place = if lines.len() > room { format!("{title} ({} lines)", lines.len()) } else { title.clone() };
    let inner = framed(frame, &place, true, area);
    ui.page = usize::from(inner.height).max(1);
    *top = (*top).min(lines.len().saturating_sub(ui.page));
    let shown = lines.iter().skip(*top).take(ui.page).map(|line| Line::raw(line.as_str()));
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), inner);
}

/// The line, with the cursor behind what is typed.
pub fn question(frame: &mut Frame<'_>, model: &Model, ui: &Ui, what: Question, typed: &str, area: Rect) {
    let asked = match what {
        Question::Step => "step how many instructions? ".to_owned(),
        Question::Walk => format!("walk which address{}? ", whose(model, ui)),
    };
    let width = usize::from(area.width);
    // The end of the line is what one types: the beginning goes first.
    let line = asked + typed;
    let mut from = line.as_str();
    while cells_of(from) + 1 > width && !from.is_empty() {
        let mut chars = from.chars();
        chars.next();
        from = chars.as_str();
    }
    frame.render_widget(Line::raw(from), area);
    if !area.is_empty() {
        frame.set_cursor_position(Position::new(area.x + cells_of(from) as u16, area.y));
    }
}

/// Whose address it is, if the user does not say so.
fn whose(model: &Model, ui: &Ui) -> String {
    match (ui.pane, ui.process(model)) {
        (Pane::Processes, Some(pid)) => format!(" of process {pid}"),
        _ => format!(" as CPU {} sees it", ui.cpu),
    }
}
