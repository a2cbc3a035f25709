//! `why`: what keeps something in the store.

use lamina_engine::Engine;
use lamina_store::{Link, Subject, SubjectError};
use serde_json::{Value, json};

use crate::app::App;
use crate::args::WhyArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for WhyArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let subjects = self.subjects(app, &engine)?;
        let mut documents = Vec::new();
        let mut text = String::new();
        for subject in &subjects {
            let chains = engine.store().why(subject)?;
            let verdict = verdict(&engine, subject, chains.is_empty())?;
            text += &shown(subject, &chains, &verdict);
            documents.push(document(subject, &chains, &verdict));
        }
        if self.format == "json" {
            text = Value::from(documents).to_string() + "\n";
        }
        ui::out(&ui::escape_lines(&text))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl WhyArgs {
    /// A digest or a path first; else the image that the words mean.
    fn subjects(&self, app: &App, engine: &Engine) -> Outcome<Vec<Subject>> {
        let path = app.working_directory()?.join(&self.subject);
        let text = match path.strip_prefix(&app.root) {
            Ok(below) => below.to_string_lossy().into_owned(),
            Err(_) => self.subject.clone(),
        };
        match engine.store().subjects(&text) {
            Err(SubjectError::NotFound(_)) => {}
            other => return Ok(other?),
        }
        match engine.images().find(&self.subject) {
            Ok(image) => Ok(vec![Subject::Blob(image.id.0)]),
            Err(_) => Err(Failure::from(SubjectError::NotFound(self.subject.clone()))
                .hint("lamina df -v and lamina images --no-trunc show what is here")),
        }
    }
}

/// What holds for things that have no chain, or need none.
fn verdict(engine: &Engine, subject: &Subject, free: bool) -> Outcome<Option<String>> {
    let text = match subject {
        Subject::Container(id) => format!("a container's records; lamina rm {id} removes them"),
        Subject::Volume(name) => {
            let uses = engine.container_uses()?;
            let users = uses.iter().filter(|one| one.volumes.contains(name));
            let users: Vec<String> = users.map(|one| one.id.short().to_owned()).collect();
            match users.is_empty() {
                true => "no container uses it; it is kept until it is removed".to_owned(),
                false => format!("used by container {}", users.join(", ")),
            }
        }
        Subject::Removed(id) => {
            format!("it was removed and is kept for a while; lamina undo {id} brings it back")
        }
        Subject::Trash => "it was removed and waits to be unlinked".to_owned(),
        Subject::Own(_) => "the store itself needs it".to_owned(),
        Subject::Foreign(_) => "lamina has not put it there and leaves it alone".to_owned(),
        Subject::Partial(_) if free => "kept so that the next pull goes on from it".to_owned(),
        _ if free => "nothing keeps it: the next collection takes it".to_owned(),
        _ => return Ok(None),
    };
    Ok(Some(text))
}

fn shown(subject: &Subject, chains: &[Vec<Link>], verdict: &Option<String>) -> String {
    let mut text = format!("{subject}\n");
    for chain in chains {
        for (depth, link) in chain.iter().enumerate() {
            let branch = match depth {
                0 => "  ".to_owned(),
                depth => format!("{}└─ ", "   ".repeat(depth - 1) + "  "),
            };
            text += &format!("{branch}{link}\n");
        }
    }
    if let Some(verdict) = verdict {
        text += &format!("  {verdict}\n");
    }
    text
}

fn document(subject: &Subject, chains: &[Vec<Link>], verdict: &Option<String>) -> Value {
    let words =
        |chain: &Vec<Link>| -> Vec<String> { chain.iter().map(ToString::to_string).collect() };
    json!({
        "Subject": subject.to_string(),
        "Kept": !chains.is_empty(),
        "Chains": chains.iter().map(words).collect::<Vec<_>>(),
        "Verdict": verdict,
    })
}
