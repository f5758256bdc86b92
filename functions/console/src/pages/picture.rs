//! The picture of a workflow: its tasks as nested boxes, drawn on the server.

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::{
    ui,
    visit::{Browser, t},
};

/// The most tasks of a picture.
const MAX_TASKS: usize = 300;

/// What a task does: the first of these members that it has.
const KINDS: [&str; 12] = [
    "call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait",
];

const ROW: usize = 34;
const GAP: usize = 10;
const INDENT: usize = 18;
const WIDTH: usize = 420;

struct Drawing {
    boxes: Vec<TaskBox>,
    y: usize,
    left: usize,
}

struct TaskBox {
    depth: usize,
    y: usize,
    height: usize,
    name: String,
    kind: &'static str,
    detail: String,
    pointer: String,
}

/// The picture, with the task at this JSON pointer marked as the one that failed.
pub(crate) fn of(visit: &Browser, definition: &Map<String, Value>, failed: Option<&str>) -> Markup {
    let mut drawing = Drawing {
        boxes: Vec::new(),
        y: 0,
        left: MAX_TASKS,
    };
    if let Some(tasks) = definition.get("do") {
        drawing.list(tasks, "/do", 0);
    }
    let height = drawing.y.max(ROW);
    // The innermost task whose pointer leads to the failed one.
    let marked = failed.and_then(|failed| {
        let holds = |own: &&TaskBox| {
            failed
                .strip_prefix(own.pointer.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        drawing
            .boxes
            .iter()
            .filter(holds)
            .map(|own| own.pointer.as_str())
            .max_by_key(|p| p.len())
    });
    html! {
        div.wide tabindex="0" role="region" aria-label=(t!(visit, "picture")) {
            svg.picture viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) role="img" aria-label=(t!(visit, "picture-of", tasks = drawing.boxes.len())) {
                @for own in &drawing.boxes {
                    @let (x, width) = (own.depth * INDENT + 1, WIDTH.saturating_sub(2 * own.depth * INDENT + 2));
                    g data-kind=(own.kind) data-failed=[(marked == Some(own.pointer.as_str())).then_some("true")] {
                        rect x=(x) y=(own.y + 1) width=(width) height=(own.height) rx="5" {}
                        text x=(x + 10) y=(own.y + 22) {
                            tspan.task { (ui::visible(&short(&own.name, 26))) } " "
                            tspan.kind { (own.kind) @if !own.detail.is_empty() { " " (ui::visible(&short(&own.detail, 22))) } }
                            @if marked == Some(own.pointer.as_str()) { tspan.failed { " ✗ " (t!(visit, "failed-here")) } }
                        }
                    }
                }
            }
        }
        @if drawing.left == 0 { p.note { (t!(visit, "picture-shortened", tasks = MAX_TASKS)) } }
    }
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

impl Drawing {
    fn list(&mut self, tasks: &Value, pointer: &str, depth: usize) {
        let items = tasks.as_array().into_iter().flatten().enumerate();
        for (index, item) in items {
            for (name, task) in item.as_object().into_iter().flatten() {
                if self.left == 0 {
                    return;
                }
                self.left -= 1;
                self.task(name, task, &format!("{pointer}/{index}/{name}"), depth);
            }
        }
    }

    fn task(&mut self, name: &str, task: &Value, pointer: &str, depth: usize) {
        let kind = KINDS.into_iter().find(|kind| task.get(kind).is_some());
        // `for` and `try` have a `do` of their own.
        let kind = match kind {
            Some("do") if task.get("for").is_some() => "for",
            Some(kind) => kind,
            None => "",
        };
        let own = self.boxes.len();
        self.boxes.push(TaskBox {
            depth,
            y: self.y,
            height: ROW,
            name: name.to_owned(),
            kind,
            detail: detail(kind, task),
            pointer: pointer.to_owned(),
        });
        let start = self.y;
        self.y += ROW;
        for (list, at) in inner(kind, task) {
            self.list(list, &format!("{pointer}{at}"), depth + 1);
        }
        if let Some(own) = self.boxes.get_mut(own) {
            own.height = self.y - start;
        }
        self.y += GAP;
    }
}

/// The lists of tasks in a task, and where they are.
fn inner<'a>(kind: &str, task: &'a Value) -> Vec<(&'a Value, &'static str)> {
    let places: &[&'static str] = match kind {
        "do" | "for" => &["/do"],
        "fork" => &["/fork/branches"],
        "try" => &["/try", "/catch/do"],
        "listen" => &["/foreach/do"],
        _ => &[],
    };
    let found = places.iter().map(|place| (task.pointer(place), *place));
    found
        .filter_map(|(list, place)| Some((list?, place)))
        .collect()
}

fn detail(kind: &str, task: &Value) -> String {
    let text = |pointer: &str| {
        task.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let own = match kind {
        "call" => {
            let endpoint = [text("/with/endpoint"), text("/with/endpoint/uri")];
            format!("{} {}", text("/call"), endpoint.concat())
        }
        "switch" => {
            let cases = task.get("switch").and_then(Value::as_array);
            let names = cases.into_iter().flatten().filter_map(Value::as_object);
            names
                .flat_map(Map::keys)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        }
        "for" => text("/for/in"),
        _ => String::new(),
    };
    let then = text("/then");
    if then.is_empty() {
        own
    } else {
        format!("{own} → {then}")
    }
}
