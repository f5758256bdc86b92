//! A run computed in the sandbox: reports come out, journal entries go in.

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

/// A report of a computation.
#[derive(Debug)]
pub enum Told {
    /// A task ended, or waits.
    Step(Record),
    /// The run emitted an event with this number.
    Emitted(u32, Value),
    /// The run needs one of these effects; it waits for [`Computation::give`].
    Asked(Asked),
    /// The run ended with an output or an error.
    Ended(Box<Result<Value, RunError>>),
}

/// The input of a computation.
#[derive(Debug)]
pub struct Given {
    pub definition: Arc<Definition>,
    pub run_id: String,
    pub input: Value,
    /// When the run was accepted.
    pub started_at: Timestamp,
    /// The step limit.
    pub max_steps: u32,
    pub computing: Computing,
    /// The entries so far.
    pub journal: Vec<Entry>,
    /// The nonce in the placeholders of secrets; empty if the run uses none.
    pub mark: String,
}

/// A computation. Dropping it ends it.
#[derive(Debug)]
pub struct Computation<'a> {
    sandbox: &'a Sandbox,
    given: Given,
    process: Option<Process>,
    /// Whether the child was started for this computation.
    is_new: bool,
    /// The size of the input and the journal, and the resulting limits of the child.
    given_bytes: usize,
    memory_bytes: u64,
    /// Whether the child does not have the program of the definition, although it should.
    is_broken: bool,
    /// The number of reports so far, and how many of them a restarted child will repeat.
    told: u64,
    again: u64,
}

/// The most reports per step. No workflow has that many.
const WORDS_PER_STEP: u64 = 8;

/// The longest string in a record, in bytes.
const MAX_TEXT: usize = 16 * 1024;

impl<'a> Computation<'a> {
    /// The computation starts with the first call of [`Computation::next`].
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

    /// The next report. The future may be dropped and the method called again.
    pub async fn next(&mut self) -> Told {
        loop {
            match self.hear().await {
                // A restarted child repeats the earlier reports.
                Ok(Told::Step(_) | Told::Emitted(..)) if self.again > 0 => self.again -= 1,
                Ok(told) => {
                    self.told += u64::from(matches!(told, Told::Step(_) | Told::Emitted(..)));
                    self.let_go(&told);
                    return told;
                }
                // The child was started for a smaller journal.
                Err(Lost::Memory) if self.has_grown() => {
                    self.process = None;
                    self.again = self.told;
                }
                // Earlier runs may have left memory in this child.
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

    /// Whether a new child would have a larger memory limit, because the journal has grown.
    fn has_grown(&self) -> bool {
        let now = for_input(self.given.computing, self.given_bytes);
        now.memory_bytes > self.memory_bytes
    }

    /// Releases the child, if it is not needed after this report.
    fn let_go(&mut self, told: &Told) {
        match told {
            Told::Step(_) | Told::Emitted(..) => {}
            Told::Ended(_) => {
                let process = self.process.take();
                if let Some(process) = process.filter(|_| !self.is_broken) {
                    self.sandbox.give_back(process);
                }
            }
            // A child with a high memory limit is not kept waiting; another one continues from the
            // journal.
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

    /// Passes a journal entry to the child.
    pub async fn give(&mut self, entry: Entry) {
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        self.given_bytes += json.len();
        if let Some(process) = &mut self.process
            // A failed write shows in the next read.
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
            let detail = "the version does not compile with this release";
            let error = RunError::platform(
                "version-broken",
                "The workflow version does not compile",
                detail,
            );
            Told::Ended(Box::new(Err(error)))
        }
        Word::Ready(_) | Word::Compiled(_) => return Err(Garbage),
    })
}
