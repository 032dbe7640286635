//! The screen: which pane is where, and how it is drawn.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Paragraph},
};

use super::{
    cpus, first_line, memory, notes, over, processes, second_line,
    table::{Column, fit, head, row},
};
use crate::top::{
    model::Model,
    ui::{Over, Pane, Ui},
};

/// A screen of at least this has all panes; a smaller one the pane that has the keys.
const LEAST: (u16, u16) = (60, 18);
/// From this on memory stands beside the processes.
const WIDE: u16 = 128;
const HINT: &str = "q quit  p pause  s step  w walk  Tab pane  Enter maps  ? help";

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model, ui: &mut Ui) {
    let area = frame.area();
    let notes = notes(model);
    let is_tall = area.height >= 8;
    let heads = [1, u16::from(is_tall), u16::from(is_tall && !notes.is_empty())];
    let [first, second, noted, body, last] = Layout::vertical([
        Constraint::Length(heads[0]),
        Constraint::Length(heads[1]),
        Constraint::Length(heads[2]),
        Constraint::Min(0),
        Constraint::Length(u16::from(area.height >= 3)),
    ])
    .areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(first_line(model), bold), first);
    frame.render_widget(Line::raw(second_line(model)), second);
    if let Some(note) = notes.first() {
        let more = if notes.len() > 1 { format!(" (and {} more: n)", notes.len() - 1) } else { String::new() };
        frame.render_widget(Line::styled(format!("note: {note}{more}"), Style::new().fg(Color::Yellow)), noted);
    }
    match &ui.over {
        Some(Over::Text { .. }) => over::text(frame, ui, body),
        _ => panes(frame, model, ui, body),
    }
    match &ui.over {
        Some(Over::Question { what, typed }) => over::question(frame, model, ui, *what, typed, last),
        Some(Over::Text { .. }) => frame.render_widget(dim("Esc close  Up, Down, PgUp, PgDn scroll"), last),
        None => match &ui.message {
            Some(message) => frame.render_widget(Line::styled(message.clone(), Style::new().fg(Color::Cyan)), last),
            None => frame.render_widget(dim(HINT), last),
        },
    }
}

fn dim(text: &str) -> Line<'_> {
    Line::styled(text, Style::new().add_modifier(Modifier::DIM))
}

fn panes(frame: &mut Frame<'_>, model: &Model, ui: &mut Ui, area: Rect) {
    if area.width < LEAST.0 || area.height + 4 < LEAST.1 {
        return pane(frame, model, ui, ui.pane, area);
    }
    // Its rows, heads and borders.
    let cpus = (model.look.cpus.len() as u16 + 3).min(area.height / 3);
    let [top, rest] = Layout::vertical([Constraint::Length(cpus), Constraint::Min(0)]).areas(area);
    let memory = memory::lines(model, usize::MAX >> 1).len() as u16 + 2;
    let (processes, memory, events) = if area.width >= WIDE {
        let [upper, events] = Layout::vertical([Constraint::Fill(2), Constraint::Fill(1)]).areas(rest);
        let [processes, memory] = Layout::horizontal([Constraint::Min(0), Constraint::Length(56)]).areas(upper);
        (processes, memory, events)
    } else {
        let low = memory.min(rest.height / 2);
        let [processes, lower] = Layout::vertical([Constraint::Min(0), Constraint::Length(low)]).areas(rest);
        let [memory, events] = Layout::horizontal([Constraint::Length(48), Constraint::Min(0)]).areas(lower);
        (processes, memory, events)
    };
    for (which, place) in
        [(Pane::Cpus, top), (Pane::Processes, processes), (Pane::Memory, memory), (Pane::Events, events)]
    {
        pane(frame, model, ui, which, place);
    }
}

/// Draws one pane in its frame, if there is room for one.
fn pane(frame: &mut Frame<'_>, model: &Model, ui: &mut Ui, which: Pane, area: Rect) {
    let has_keys = ui.pane == which;
    let title = match which {
        Pane::Cpus => format!("CPUs ({})", model.look.cpus.len()),
        Pane::Processes => format!("Processes ({})", model.processes.len()),
        Pane::Memory if ui.memory > 0 => format!("Memory ({} lines above)", ui.memory),
        Pane::Memory => "Memory".to_owned(),
        Pane::Events if ui.events_back > 0 => format!("Events ({} newer below)", ui.events_back),
        Pane::Events => format!("Events ({})", model.log.len()),
    };
    let inner = framed(frame, &title, has_keys, area);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    if has_keys {
        ui.page = height.saturating_sub(usize::from(matches!(which, Pane::Cpus | Pane::Processes))).max(1);
    }
    let lines = match which {
        Pane::Cpus => {
            let chosen = has_keys.then_some(ui.cpu.min(model.look.cpus.len().saturating_sub(1)));
            table(&cpus::COLUMNS, model.look.cpus.len(), chosen, inner, |at| cpus::cells(model, at))
        }
        Pane::Processes if model.look.processes.is_none() => vec![Line::raw("not known of this kernel")],
        Pane::Processes => {
            let chosen = Some(ui.row(model));
            table(&processes::COLUMNS, model.processes.len(), chosen, inner, |at| {
                processes::cells(&model.processes[at])
            })
        }
        Pane::Memory => {
            let lines = memory::lines(model, width);
            ui.memory = ui.memory.min(lines.len().saturating_sub(height));
            lines.into_iter().skip(ui.memory).take(height).map(Line::raw).collect()
        }
        Pane::Events => {
            ui.events_back = ui.events_back.min(model.log.len().saturating_sub(height));
            let mut events: Vec<_> = model.log.events().rev().skip(ui.events_back).take(height).collect();
            events.reverse();
            events.into_iter().map(|event| Line::raw(format!("{:>12} {}", event.at_ns, event.text))).collect()
        }
    };
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Draws a frame with a title where there is room for one, and gives what is within.
pub(super) fn framed(frame: &mut Frame<'_>, title: &str, has_keys: bool, area: Rect) -> Rect {
    if area.height < 4 || area.width < 24 {
        return area;
    }
    let style = if has_keys { Style::new().fg(Color::Cyan) } else { Style::new().add_modifier(Modifier::DIM) };
    let block = Block::bordered().title(title.to_owned()).border_style(style);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// The rows around the chosen one, below their heads.
fn table(
    columns: &[Column],
    count: usize,
    chosen: Option<usize>,
    area: Rect,
    cells: impl Fn(usize) -> Vec<String>,
) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(area.width), usize::from(area.height).saturating_sub(1));
    let shown = fit(columns, width);
    let first = chosen.map_or(0, |chosen| chosen.saturating_sub(height / 2).min(count.saturating_sub(height)));
    let mut lines = vec![Line::styled(head(columns, &shown), Style::new().add_modifier(Modifier::BOLD))];
    for at in (first..count).take(height) {
        let line = row(columns, &shown, &cells(at));
        lines.push(match chosen == Some(at) {
            true => Line::styled(format!("{line:width$}"), Style::new().add_modifier(Modifier::REVERSED)),
            false => Line::raw(line),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::top::{
        look::{Cpu, Fault, Look, Process, Zone},
        ui::{Motion, Question},
    };

    fn model(processes: u32) -> Model {
        let process = |pid| Process {
            pid,
            state: "S".into(),
            comm: format!("p{pid}"),
            rss_pages: Some(pid.into()),
            vsize_pages: Some(1000),
            ..Process::default()
        };
        let cpu =
            |cpu| Cpu { cpu, mode: "user".into(), cr3: 0x1000 * cpu, retired: 2000, tlb_misses: 5, ..Cpu::default() };
        let look = Look {
            books: true,
            stats: [("instructions".to_owned(), 41_236_688), ("virtual_ns".to_owned(), 41_000_000)].into(),
            cpus: (0..2).map(cpu).collect(),
            processes: Some((1..=processes).map(process).collect()),
            meminfo: Some([("MemTotal".to_owned(), 32_000), ("MemFree".to_owned(), 12_345)].into()),
            zones: Some(vec![Zone { zone: "Normal".into(), free: 100, present: 900, managed: 800, ..Zone::default() }]),
            faults: vec![Fault {
                at: 7,
                address: Some(0x1234_5000),
                access: Some("write".into()),
                present: Some(false),
                cpl: 3,
                ..Fault::default()
            }],
            ..Look::default()
        };
        let mut model = Model::new("m");
        model.take(look, None, None, Instant::now());
        model
    }

    /// The screen of so many columns and rows, a line each.
    fn screen(model: &Model, ui: &mut Ui, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, model, ui)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |row| (0..columns).map(|column| buffer[(column, row)].symbol()).collect::<String>();
        (0..rows).map(|row| line(row).trim_end().to_owned()).collect()
    }

    fn has(lines: &[String], part: &str) -> bool {
        lines.iter().any(|line| line.contains(part))
    }

    #[test]
    fn all_panes_are_on_a_screen_of_ordinary_size() {
        for (columns, rows) in [(80, 24), (100, 40), (160, 50)] {
            let lines = screen(&model(3), &mut Ui::default(), columns, rows);
            assert!(lines[0].starts_with("m: saved, 41,236,688 instructions, 0.041000 s of its time"), "{}", lines[0]);
            for part in ["CPUs (2)", "Processes (3)", "p3", "Memory", "Events (1)", "page fault", "12,345 kB", "? help"]
            {
                assert!(has(&lines, part), "{columns}: {part}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_small_screen_has_the_pane_that_has_the_keys() {
        let (model, mut ui) = (model(9), Ui::default());
        assert_eq!(
            screen(&model, &mut ui, 20, 5),
            ["m: saved, 41,236,688", "   PID S COMMAND", "     1 S p1", "     2 S p2", "q quit  p pause  s s"]
        );
        ui.pane = Pane::Events;
        assert_eq!(screen(&model, &mut ui, 20, 5)[1], "           7 CPU 0 p");
        for (columns, rows) in [(1, 1), (2, 9), (19, 2), (200, 3), (23, 200), (60, 17)] {
            for over in [None, Some(Over::Question { what: Question::Walk, typed: "c0100000".into() })] {
                ui.over = over;
                screen(&model, &mut ui, columns, rows);
            }
            ui.show("t", "a\nb");
            screen(&model, &mut ui, columns, rows);
        }
    }

    #[test]
    fn the_chosen_one_of_many_is_seen() {
        let (model, mut ui) = (model(500), Ui::default());
        ui.go(&model, Motion::Last);
        assert!(has(&screen(&model, &mut ui, 80, 24), "p500"));
        ui.go(&model, Motion::Pages(-1));
        let lines = screen(&model, &mut ui, 80, 24);
        assert!(has(&lines, &format!("p{}", 500 - ui.page)), "{lines:#?}");
        ui.go(&model, Motion::First);
        assert!(has(&screen(&model, &mut ui, 80, 24), "p1 "), "{:?}", ui.row(&model));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut model = model(3);
        model.look = Look { notes: vec!["no \x1b[31mbooks".into(), "more".into()], ..Look::default() };
        model.processes.clear();
        let lines = screen(&model, &mut Ui::default(), 80, 24);
        assert!(
            has(&lines, "note: no ?[31mbooks (and 1 more: n)") && has(&lines, "not known of this kernel"),
            "{lines:#?}"
        );
    }

    #[test]
    fn the_end_of_a_long_line_that_is_typed_is_seen() {
        let typed = "x".repeat(70) + "end";
        let mut ui = Ui { over: Some(Over::Question { what: Question::Step, typed }), ..Ui::default() };
        let lines = screen(&model(3), &mut ui, 60, 20);
        assert!(lines[19].ends_with("xend"), "{}", lines[19]);
    }
}
