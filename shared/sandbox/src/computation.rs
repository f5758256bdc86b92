//! A run, computed in the sandbox: what it says comes out, what it asked for goes in.

use std::sync::Arc;

use aias_domain::{plan::Computing, run::RunError};
use aias_engine::{
    Record,
    journal::{Asked, Entry},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Definition, Lost, Sandbox, for_input,
    frame::{self, Begin, Garbage, Order, Word},
    process::Process,
};

/// What a computation says.
#[derive(Debug)]
pub enum Told {
    /// A step is over, or waits.
    Step(Record),
    /// The run emitted an event, its number among them.
    Emitted(u32, Value),
    /// It cannot go on without one of these; it waits for [`Computation::give`].
    Asked(Asked),
    /// It is over: its output, or its error.
    Ended(Box<Result<Value, RunError>>),
}

/// What a computation is given.
#[derive(Debug)]
pub struct Given {
    /// The workflow's version.
    pub definition: Arc<Definition>,
    /// The run's id.
    pub run_id: String,
    /// Its input.
    pub input: Value,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// Steps that it may execute.
    pub max_steps: u32,
    /// What it may take of the machine.
    pub computing: Computing,
    /// What happened so far.
    pub journal: Vec<Entry>,
    /// What stands for secrets in it is known by this; empty when it uses none.
    pub mark: String,
}

/// A computation under way. Once it is dropped, it is ended where it is.
#[derive(Debug)]
pub struct Computation<'a> {
    sandbox: &'a Sandbox,
    given: Given,
    process: Option<Process>,
    /// Whether nothing else was ever in this process, nor did it wait for work.
    is_new: bool,
    /// How many bytes its input and its journal have, and what the child may take for so many.
    given_bytes: usize,
    memory_bytes: u64,
    /// Whether the child has no program of the definition, against what is remembered of it.
    is_broken: bool,
    /// What was told so far, and how much of it is told again.
    told: u64,
    again: u64,
}

/// How many words there may be for each step; more than any workflow has.
const WORDS_PER_STEP: u64 = 8;

/// The longest text in a record, in bytes.
const MAX_TEXT: usize = 16 * 1024;

impl<'a> Computation<'a> {
    /// A computation, which begins when it is listened to.
    #[must_use]
    pub fn new(sandbox: &'a Sandbox, given: Given) -> Self {
        Self {
            sandbox,
            given,
            process: None,
            is_new: false,
            given_bytes: 0,
            memory_bytes: 0,
            is_broken: false,
            told: 0,
            again: 0,
        }
    }

    /// What it says next. May be dropped and called again.
    pub async fn next(&mut self) -> Told {
        loop {
            match self.hear().await {
                // What was told before is the same again.
                Ok(Told::Step(_) | Told::Emitted(..)) if self.again > 0 => self.again -= 1,
                Ok(told) => {
                    self.told += u64::from(matches!(told, Told::Step(_) | Told::Emitted(..)));
                    self.let_go(&told);
                    return told;
                }
                // It has been given more than it was begun for.
                Err(Lost::Memory) if self.has_grown() => {
                    self.process = None;
                    self.again = self.told;
                }
                // Others may have left something behind in this one.
                Err(Lost::Memory | Lost::Killed) if !self.is_new => {
                    self.process = None;
                    self.is_new = true;
                    self.again = self.told;
                }
                Err(lost) => {
                    self.process = None;
                    return Told::Ended(Box::new(Err(lost.into())));
                }
            }
        }
    }

    /// Whether a child that was begun now could take more, for what came from outside meanwhile.
    fn has_grown(&self) -> bool {
        let now = for_input(self.given.computing, self.given_bytes);
        now.memory_bytes > self.memory_bytes
    }

    /// Whether the child is still needed after what it said.
    fn let_go(&mut self, told: &Told) {
        match told {
            Told::Step(_) | Told::Emitted(..) => {}
            Told::Ended(_) => {
                let process = self.process.take();
                if let Some(process) = process.filter(|_| !self.is_broken) {
                    self.sandbox.give_back(process);
                }
            }
            // One that takes more than others does not wait: it is begun again, from its journal.
            Told::Asked(_) => {
                let plan = self.given.computing.memory_bytes;
                if self
                    .process
                    .as_ref()
                    .is_some_and(|p| p.computing.memory_bytes > plan)
                {
                    self.process = None;
                    self.again = self.told;
                }
            }
        }
    }

    /// Gives it what it asked for.
    pub async fn give(&mut self, entry: Entry) {
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        self.given_bytes += json.len();
        if let Some(process) = &mut self.process
            // Whether it heard it shows when it says nothing more.
            && process.tell(&Order::Entry(json.into())).await.is_err()
        {
            tracing::info!("the engine's child ended while it waited");
        }
        self.given.journal.push(entry);
    }

    async fn hear(&mut self) -> Result<Told, Lost> {
        if self.process.is_none() {
            self.process = Some(self.begin().await?);
        }
        let Some(process) = &mut self.process else {
            return Err(Lost::NotBegun);
        };
        let most = WORDS_PER_STEP * (u64::from(self.given.max_steps) + 1);
        if self.told > most {
            return Err(Lost::Garbage);
        }
        let is_broken = &mut self.is_broken;
        let heard = process.hear(|word| {
            *is_broken = matches!(word, Word::Broken);
            read(word)
        });
        heard.await
    }

    async fn begin(&mut self) -> Result<Process, Lost> {
        let given = &self.given;
        let input = serde_json::to_vec(&given.input).unwrap_or_default();
        let journal = serde_json::to_vec(&given.journal).unwrap_or_default();
        self.given_bytes = input.len() + journal.len();
        let computing = for_input(given.computing, self.given_bytes);
        self.memory_bytes = computing.memory_bytes;
        let mut process = if self.is_new {
            self.sandbox.begin(computing).await?
        } else {
            self.sandbox.take(computing).await?
        };
        self.is_new = process.is_new();
        let (definition, forget) = process.learn(&given.definition);
        let order = Order::Begin(Begin {
            program: given.definition.id,
            definition: definition.map(Into::into),
            forget,
            run_id: given.run_id.as_str().into(),
            input: input.into(),
            started_at: given.started_at,
            max_steps: given.max_steps,
            journal: journal.into(),
            mark: given.mark.as_str().into(),
        });
        process.tell(&order).await?;
        Ok(process)
    }
}

fn read(word: Word<'_>) -> Result<Told, Garbage> {
    Ok(match word {
        Word::Step(record) => {
            if record.task.len() > MAX_TEXT || record.message.len() > MAX_TEXT {
                return Err(Garbage);
            }
            Told::Step(record)
        }
        Word::Emitted(number, json) => Told::Emitted(number, frame::value_of(&json)?),
        Word::Asked(json) => Told::Asked(frame::asked_of(&json)?),
        Word::Completed(json) => Told::Ended(Box::new(Ok(frame::value_of(&json)?))),
        Word::Faulted(json) => Told::Ended(Box::new(Err(frame::error_of(&json)?))),
        Word::Broken => {
            let detail = "the version does not compile any more";
            let error = RunError::platform("version-broken", "The version cannot run", detail);
            Told::Ended(Box::new(Err(error)))
        }
        Word::Ready(_) | Word::Compiled(_) => return Err(Garbage),
    })
}
