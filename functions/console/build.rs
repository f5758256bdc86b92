//! Compresses scripts and styles, and renders the user documentation.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use sha2::{Digest as _, Sha256};

/// The files of each asset, in their order.
const ASSETS: [(&str, &str, &str, &[&str]); 4] = [
    (
        "SCRIPT",
        "js",
        "text/javascript; charset=utf-8",
        &[
            "vendor/htmx.min.js",
            "vendor/hx-csp.min.js",
            "vendor/hx-ptag.min.js",
            "console.js",
        ],
    ),
    ("STYLE", "css", "text/css; charset=utf-8", &["console.css"]),
    ("ICON", "svg", "image/svg+xml", &["icon.svg"]),
    (
        "EDITOR",
        "js",
        "text/javascript; charset=utf-8",
        &["vendor/codemirror.min.js", "editor.js"],
    ),
];

/// The pages for users: file below `docs/`, and its name in the console.
const PAGES: [(&str, &str); 15] = [
    ("guides/README.md", "guides"),
    ("guides/first-workflow.md", "first-workflow"),
    ("guides/github.md", "github"),
    ("guides/stripe.md", "stripe"),
    ("guides/slack.md", "slack"),
    ("guides/shopify.md", "shopify"),
    ("guides/secrets.md", "secrets"),
    ("guides/calling-an-api.md", "calling-an-api"),
    ("guides/language-model.md", "language-model"),
    ("guides/testing.md", "testing"),
    ("guides/aws.md", "aws"),
    ("using.md", "using"),
    ("sources.md", "sources"),
    ("engine.md", "engine"),
    ("errors.md", "errors"),
];

fn main() -> io::Result<()> {
    let (own, out) = (folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR"));
    fs::write(out.join("assets.rs"), assets(&own.join("assets"), &out)?)?;
    let docs = own.join("../../docs");
    let code = pages(&docs)? + &errors(&docs)?;
    fs::write(out.join("docs.rs"), code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a build script has no other settings"
)]
fn folder(variable: &str) -> PathBuf {
    env::var_os(variable).unwrap_or_default().into()
}

fn read(path: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path)
}

fn assets(folder: &Path, out: &Path) -> io::Result<String> {
    let mut code = String::new();
    for (name, extension, content_type, files) in ASSETS {
        let mut content = String::new();
        for file in files {
            content.push_str(&read(&folder.join(file))?);
            content.push('\n');
        }
        let digest = hex::encode(Sha256::digest(&content));
        let digest = digest.get(..16).unwrap_or_default();
        let file = format!("{}-{digest}.{extension}", name.to_lowercase());
        let compressed = out.join(format!("{file}.gz"));
        let mut encoder = GzEncoder::new(fs::File::create(&compressed)?, Compression::best());
        encoder.write_all(content.as_bytes())?;
        encoder.finish()?;
        let _ = writeln!(
            code,
            "pub(crate) static {name}: Asset = Asset {{ path: \"/dashboard/assets/{file}\", \
             content_type: \"{content_type}\", content: include_bytes!({:?}) }};",
            compressed.display().to_string()
        );
    }
    Ok(code)
}

/// The code of a constant with all pages.
fn pages(docs: &Path) -> io::Result<String> {
    let mut code = String::from("pub(crate) const PAGES: &[DocsPage] = &[\n");
    for (file, name) in PAGES {
        let page = rendered(&read(&docs.join(file))?, file);
        let _ = writeln!(
            code,
            "DocsPage {{ name: {name:?}, title: {:?}, html: {:?}, sections: &{:?} }},",
            page.title, page.html, page.sections
        );
    }
    code.push_str("];\n");
    Ok(code)
}

/// The code of a constant with the entries of `errors.md`: the code, and the entry as HTML. The
/// tables have the columns status and title only for problems.
fn errors(docs: &Path) -> io::Result<String> {
    const FILE: &str = "errors.md";
    let mut code = String::from("pub(crate) const ERRORS: &[(&str, &str)] = &[\n");
    for row in read(&docs.join(FILE))?.lines() {
        let Some((before, after)) = row.split_once("</a>`") else {
            continue;
        };
        let cells: Vec<&str> = after.trim_end_matches(" |").split(" | ").collect();
        let status = before.trim_start_matches("| ").split(' ').next();
        let (heading, code_cell, cause, fix) = match *cells.as_slice() {
            [name, title, cause, fix] => (
                format!("{}: {title}", status.unwrap_or_default()),
                name,
                cause,
                fix,
            ),
            [name, cause, fix] => ("Error of a run".to_owned(), name, cause, fix),
            _ => return Err(io::Error::other(format!("{FILE} has another row: {row}"))),
        };
        let name = code_cell.trim_end_matches('`');
        let text = format!("## {heading}\n\n{cause}\n\n**What to do:** {fix}\n");
        let _ = writeln!(code, "({name:?}, {:?}),", rendered(&text, FILE).html);
    }
    code.push_str("];\n");
    Ok(code)
}

#[derive(Default)]
struct Rendered {
    title: String,
    html: String,
    /// The id, the heading and the text of each section.
    sections: Vec<(String, String, String)>,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other events are passed on"
)]
fn rendered(text: &str, file: &str) -> Rendered {
    let mut page = Rendered::default();
    page.sections.push(Default::default());
    let mut events: Vec<Event<'_>> = Vec::new();
    let mut heading: Option<(HeadingLevel, usize, String)> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match &event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((*level, events.len(), String::new()));
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
                // The page's title is shown by the frame.
                if let Some((_, start, words)) = heading.take() {
                    events.truncate(start);
                    page.title = words;
                }
                continue;
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, start, words)) = heading.take() {
                    let id = anchor(&words);
                    events[start] = Event::InlineHtml(format!("<{level} id=\"{id}\">").into());
                    events.push(Event::InlineHtml(format!("</{level}>\n").into()));
                    page.sections.push((id, words, String::new()));
                    continue;
                }
            }
            Event::Text(words) | Event::Code(words) => match &mut heading {
                Some((_, _, own)) => own.push_str(words),
                None => {
                    if let Some((_, _, own)) = page.sections.last_mut() {
                        own.push_str(words);
                        own.push(' ');
                    }
                }
            },
            _ => {}
        }
        events.push(moved(event, file));
    }
    html::push_html(&mut page.html, events.into_iter());
    // Wide content scrolls on its own, also by keyboard.
    page.html = page
        .html
        .replace(
            "<table>",
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>",
        )
        .replace("</table>", "</table></div>")
        .replace("<pre>", "<pre tabindex=\"0\">");
    page
}

/// A link to another page, as the console has it. Pages that it does not have lose their link.
fn moved<'a>(event: Event<'a>, file: &str) -> Event<'a> {
    let Event::Start(Tag::Link {
        link_type,
        dest_url,
        title,
        id,
    }) = event
    else {
        return event;
    };
    let link = |dest_url: CowStr<'a>| {
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title: title.clone(),
            id: id.clone(),
        })
    };
    let (path, fragment) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
    if path.is_empty() || path.contains("://") {
        return link(dest_url.clone());
    }
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let mut target = PathBuf::new();
    for part in folder.join(path).components() {
        match part.as_os_str().to_str() {
            Some("..") => {
                target.pop();
            }
            _ => target.push(part),
        }
    }
    let known = PAGES.iter().find(|(file, _)| Path::new(file) == target);
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{fragment}")
    };
    match known {
        Some((_, name)) => link(format!("/dashboard/docs/{name}{fragment}").into()),
        None if target == Path::new("openapi.json") => link("/api/openapi.json".into()),
        None => link("/dashboard/docs".into()),
    }
}

/// The id of a heading, as GitHub makes it.
fn anchor(words: &str) -> String {
    words
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
