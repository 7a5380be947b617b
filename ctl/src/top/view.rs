//! The picture of `nlbctl top`: a pure function of the model and the time.

use nlb_varlink::{Cluster, Event, Node};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};

use super::model::{self, Model, Rates};
use crate::render::{self, time};

const GOOD: Style = Style::new().fg(Color::Green).add_modifier(Modifier::BOLD);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const KEY: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Below this nothing can be read.
const SMALLEST: (u16, u16) = (40, 10);

/// The problems that are listed before they crowd out the rest.
const MAX_PROBLEMS: usize = 4;

/// Draws everything, and returns how many lines the events have.
pub fn draw(frame: &mut Frame<'_>, model: &Model, now_ms: u64) -> usize {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        frame.render_widget(Paragraph::new("This window is too small.\nq quit"), area);
        return 0;
    }
    let head = head(model, now_ms);
    let nodes = model.cluster().map_or(0, |cluster| cluster.nodes.len());
    // The events keep a third of the window.
    let room = usize::from(area.height - area.height / 3).saturating_sub(head.len() + 7);
    let table = u16::try_from(nodes.min(room).max(1) + 3).unwrap_or(area.height);
    let [top, middle, here, events, keys] = Layout::vertical([
        Constraint::Length(u16::try_from(head.len()).unwrap_or(1)),
        Constraint::Length(table),
        Constraint::Length(5),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    if let Some(cluster) = model.cluster() {
        draw_nodes(frame, middle, cluster, model.lost.is_some());
        draw_here(frame, here, cluster, model.rates.get(&cluster.name));
    }
    let lines = draw_events(frame, events, model);
    frame.render_widget(Paragraph::new(key_line(model)), keys);
    lines
}

/// What is shown, whether all is well, and why not.
fn head(model: &Model, now_ms: u64) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(reason) = &model.lost {
        let known = match model.status {
            Some(_) => format!(" What is shown is {} old.", time::span(model.age_ms(now_ms))),
            None => String::new(),
        };
        lines.push(Line::styled(format!("NO ANSWER: {reason}. Trying again.{known}"), BAD));
    }
    let Some(status) = &model.status else {
        if model.lost.is_none() {
            lines.push(Line::raw("Waiting for the daemon …"));
        }
        return lines;
    };
    let Some(cluster) = model.cluster() else {
        lines.extend(render::NO_CLUSTER.lines().map(Line::raw));
        return lines;
    };
    let problems = render::problems(cluster);
    let verdict = match (model.lost.is_some(), problems.is_empty()) {
        (true, _) => Span::styled("unknown", WARN),
        (false, true) => Span::styled("all is well", GOOD),
        (false, false) => Span::styled("NOT all is well", BAD),
    };
    let (number, count) = model.position();
    let which = if count > 1 { format!(" ({number} of {count})") } else { String::new() };
    let daemon = &status.daemon;
    lines.push(Line::from(vec![
        Span::styled(format!("{}{which}: ", cluster.name), HEAD),
        verdict,
        Span::raw(format!(
            "   {}   epoch {}   seen by {} (nlbd {}, up {})",
            cluster.addresses.join(", "),
            cluster.epoch,
            daemon.node_name,
            daemon.version,
            time::span(daemon.uptime_ms)
        )),
    ]));
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    for problem in problems.into_iter().take(MAX_PROBLEMS) {
        lines.push(Line::styled(format!("  ! {problem}"), BAD));
    }
    if more > 0 {
        lines.push(Line::styled(format!("  ! and {more} more: nlbctl status"), BAD));
    }
    lines
}

fn state_style(state: &str) -> Style {
    match state {
        "active" => Style::new().fg(Color::Green),
        "fenced" => BAD,
        _ => WARN,
    }
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, cluster: &Cluster, old: bool) {
    let room = usize::from(area.height.saturating_sub(3));
    let hidden = cluster.nodes.len().saturating_sub(room);
    let title = match hidden {
        0 => format!(" {} nodes ", cluster.nodes.len()),
        hidden => format!(" {} nodes, {hidden} more: nlbctl nodes ", cluster.nodes.len()),
    };
    // What the other columns leave.
    let bar = usize::from(area.width.saturating_sub(66)).clamp(6, 50);
    let row = |node: &Node| {
        let heard = if node.local { "this node".to_owned() } else { time::ago(node.last_heard_ms) };
        let name = if node.name.is_empty() { &node.id } else { &node.name };
        Row::new([
            Cell::new(format!("{name}{}", if node.local { " *" } else { "" })),
            Cell::new(Span::styled(node.state.clone(), state_style(&node.state))),
            Cell::new(Line::raw(node.weight.to_string()).right_aligned()),
            Cell::new(share_bar(node.buckets, bar)).style(state_style(&node.state)),
            Cell::new(Line::raw(render::share(node.buckets)).right_aligned()),
            Cell::new(Line::raw(node.pins.to_string()).right_aligned()),
            Cell::new(heard),
        ])
        .style(if old { DIM } else { Style::new() })
    };
    let right = |text: &'static str| Cell::new(Line::raw(text).right_aligned());
    let header = [
        Cell::new("NODE"),
        Cell::new("STATE"),
        right("WEIGHT"),
        Cell::new("SHARE"),
        right(""),
        right("PINS"),
        Cell::new("HEARD"),
    ];
    let widths = [
        Constraint::Length(18),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(u16::try_from(bar).unwrap_or(6)),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(11),
    ];
    let table = Table::new(cluster.nodes.iter().take(room).map(row), widths)
        .header(Row::new(header).style(HEAD))
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

/// A share of the 4096 buckets as a bar of this width, to an eighth of a character.
fn share_bar(buckets: u64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = usize::try_from(buckets.min(4096)).unwrap_or(0) * width * 8 / 4096;
    let mut bar = "█".repeat(eighths / 8);
    // A share that is there is seen.
    let rest = if eighths == 0 && buckets > 0 { 1 } else { eighths % 8 };
    if rest > 0 {
        bar.push(PARTS[rest]);
    }
    bar
}

fn per_second(rates: Option<&Rates>, rate: impl Fn(&Rates) -> f64) -> String {
    rates.map_or_else(|| "-".to_owned(), |rates| number(rate(rates)))
}

/// A rate with as many digits as say something.
fn number(rate: f64) -> String {
    match rate {
        r if r <= 0.0 => "0".to_owned(),
        r if r < 10.0 => format!("{r:.1}"),
        r if r < 10_000.0 => format!("{r:.0}"),
        r if r < 10_000_000.0 => format!("{:.0} k", r / 1000.0),
        r => format!("{:.0} M", r / 1_000_000.0),
    }
}

fn draw_here(frame: &mut Frame<'_>, area: Rect, cluster: &Cluster, rates: Option<&Rates>) {
    let label = |text: &'static str| Span::styled(text, DIM);
    let traffic = |packets: fn(&Rates) -> f64, bytes: fn(&Rates) -> f64| match rates {
        // A rate is a fraction of a counter, and never below zero.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(rates) => {
            format!("{} ({})", number(packets(rates)), render::size(bytes(rates) as u64))
        }
        None => "-".to_owned(),
    };
    let taken = traffic(|rates| rates.taken.0, |rates| rates.taken_bytes.0);
    let dropped = traffic(|rates| rates.dropped.0, |rates| rates.dropped_bytes.0);
    let counter =
        |name: &str| per_second(rates, |rates| rates.counters.get(name).map_or(0.0, |rate| rate.0));
    let mut reasons: Vec<_> = rates
        .iter()
        .flat_map(|rates| &rates.counters)
        .filter_map(|(name, rate)| {
            let dropped = cluster.drops.contains_key(name).then_some(name.as_str());
            let name = dropped.or_else(|| model::dropped_by_kernel(name))?;
            Some(format!("{name} {}", number(rate.0)))
        })
        .collect();
    if reasons.is_empty() {
        reasons.push("nothing".to_owned());
    }
    let lines = vec![
        Line::from(vec![
            label("clients "),
            Span::raw(format!("{:<9}", cluster.clients)),
            label("pinned "),
            Span::raw(format!("{:<9}", cluster.pins)),
            label("held "),
            Span::raw(format!("{:<7}", cluster.held)),
            label("new clients by "),
            Span::raw(cluster.kernel_path.clone()),
        ]),
        Line::from(vec![
            label("packets/s taken "),
            Span::raw(format!("{taken:<18}")),
            label("dropped "),
            Span::raw(format!("{dropped:<18}")),
            label("heartbeats/s out "),
            Span::raw(format!("{:<6}", counter("heartbeats_sent"))),
            label("in "),
            Span::raw(counter("heartbeats_received")),
        ]),
        Line::from(vec![label("dropped per second, by reason: "), Span::raw(reasons.join(", "))]),
    ];
    let title = " This node ";
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn event_style(kind: &str) -> Style {
    match kind {
        "peer-gone" | "overlap" | "own-node-id" | "rules-refused" | "interface-unusable" => BAD,
        "converged" => Style::new().fg(Color::Green),
        _ => Style::new(),
    }
}

fn event_line(event: &Event) -> Line<'static> {
    let clock = time::utc(event.time_ms);
    // The time of day; the date is in `nlbctl events`.
    let clock = clock.get(11..23).unwrap_or_default().to_owned();
    let mut spans = vec![
        Span::styled(clock, DIM),
        Span::raw(format!(" {} ", event.cluster)),
        Span::styled(format!("{:<13} ", event.kind), event_style(&event.kind)),
        Span::raw(event.text.clone()),
    ];
    if let Some(cause) = event.cause.as_ref().filter(|cause| !event.text.contains(*cause)) {
        spans.push(Span::styled(format!(" [because {cause}]"), DIM));
    }
    Line::from(spans)
}

/// Draws the newest events that fit above what is scrolled away; returns how many fit.
fn draw_events(frame: &mut Frame<'_>, area: Rect, model: &Model) -> usize {
    let room = usize::from(area.height.saturating_sub(2));
    let mut lines: Vec<Line<'static>> = Vec::new();
    let newest = model.events.len().saturating_sub(model.scroll);
    for index in (0..newest).rev() {
        if lines.len() >= room {
            break;
        }
        let event = &model.events[index];
        lines.push(event_line(event));
        let before = index.checked_sub(1).map(|index| model.events[index].sequence);
        match before {
            Some(before) if event.sequence <= before => {
                lines.push(Line::styled("-- the daemon was started anew --", WARN));
            }
            Some(before) if event.sequence > before + 1 => {
                let missing = event.sequence - before - 1;
                lines.push(Line::styled(format!("-- {missing} events are missing --"), WARN));
            }
            Some(_) | None => {}
        }
    }
    lines.truncate(room);
    lines.reverse();
    let title = match model.scroll {
        0 => " Events (UTC) ".to_owned(),
        scroll => format!(" Events (UTC), {scroll} newer ones below "),
    };
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    room
}

fn key_line(model: &Model) -> Line<'static> {
    let mut spans = Vec::new();
    let pause = if model.paused { "go on" } else { "pause" };
    let mut keys = vec![("q", "quit"), ("p", pause), ("↑↓", "older, newer events")];
    if model.position().1 > 1 {
        keys.push(("←→", "cluster"));
    }
    for (key, what) in keys {
        spans.push(Span::styled(format!(" {key} "), KEY));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    if model.paused {
        spans.push(Span::styled("PAUSED", WARN.add_modifier(Modifier::BOLD)));
    }
    Line::from(spans)
}
