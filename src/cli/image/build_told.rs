//! What is told of a build: on a pipe Podman's lines, on a terminal what is at work.

use std::collections::BTreeMap;

use super::steps::Steps;
use crate::build::Said;
use crate::image::Step;
use crate::output::Output;
use crate::output::board::Board;
use crate::output::progress::Parts;

/// A line that is longer is shown in parts.
const LONGEST: usize = 1 << 20;

/// Tells it.
pub struct Told<'a> {
    output: &'a mut Output,
    quiet: bool,
    board: Option<Board>,
    /// Bars of an image that comes; what is at work is not drawn meanwhile.
    parts: Option<Parts>,
    is_pulling: bool,
    /// Lines that are not whole, of each stage and stream; none where there is one stage
    /// at a time, whose bytes go as they come.
    partial: Option<BTreeMap<(usize, bool), Vec<u8>>>,
}

impl<'a> Told<'a> {
    /// With `side_by_side`, several stages may speak at the same time.
    pub fn new(output: &'a mut Output, quiet: bool, side_by_side: bool) -> Self {
        Self {
            output,
            quiet,
            board: Board::on_terminal().filter(|_| !quiet),
            parts: None,
            is_pulling: false,
            partial: side_by_side.then(BTreeMap::new),
        }
    }

    /// Whether what is shown tells of time.
    pub fn beats(&self) -> bool {
        self.board.is_some()
    }

    pub fn tell(&mut self, said: Said) {
        match said {
            Said::Line(line) => self.line(&line),
            Said::Note(line) => {
                self.clear();
                self.output.notice(format_args!("Warning: {line}"));
            }
            Said::Image(step) => self.image(step),
            Said::Step { stage, line } => {
                self.is_pulling = false;
                match &mut self.board {
                    Some(board) => board.begin(stage, &line),
                    None => self.line(&line),
                }
            }
            Said::Printed {
                stage,
                is_error,
                bytes,
            } => self.printed(stage, is_error, &bytes),
            Said::Done {
                stage,
                was_known,
                lines,
            } => {
                self.rest(stage);
                match &mut self.board {
                    Some(board) => {
                        let line = board.end(stage, was_known.then_some("CACHED"));
                        line.iter().for_each(|line| self.output.line(line));
                        self.output.flush();
                    }
                    None => lines.iter().for_each(|line| self.line(line)),
                }
            }
            Said::Failed { stage } => {
                self.rest(stage);
                if let Some(board) = &mut self.board {
                    let all = board.fail(stage);
                    self.output.raw(true, &all);
                }
            }
            Said::Time => {}
            Said::Flush => self.output.flush(),
        }
        if let (Some(board), false) = (&mut self.board, self.is_pulling) {
            board.draw();
        }
    }

    /// Takes away what stands on the terminal.
    pub fn finish(mut self) {
        self.clear();
        self.output.flush();
    }

    fn clear(&mut self) {
        if let Some(board) = &mut self.board {
            board.clear();
        }
    }

    fn line(&mut self, line: &str) {
        if !self.quiet {
            self.clear();
            self.output.line(line);
        }
    }

    fn image(&mut self, step: Step) {
        // Where images may come side by side there is no place for their bars.
        if self.partial.is_some() && matches!(step, Step::Arriving(_)) {
            return;
        }
        self.is_pulling = !matches!(step, Step::Manifest);
        self.clear();
        self.output.flush();
        let mut steps = Steps::going_on(self.output, self.quiet, self.parts.take());
        steps.tell(step);
        self.parts = steps.parts().filter(|_| self.is_pulling);
    }

    fn printed(&mut self, stage: usize, is_error: bool, bytes: &[u8]) {
        if let Some(board) = &mut self.board {
            return board.print(stage, bytes);
        }
        if self.quiet && !is_error {
            return;
        }
        let Some(partial) = &mut self.partial else {
            self.output.raw(is_error, bytes);
            return self.output.flush();
        };
        let waiting = partial.entry((stage, is_error)).or_default();
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if waiting.len() + bytes.len() > LONGEST => bytes.len(),
            None => 0,
        };
        let (whole, rest) = bytes.split_at(whole);
        if !whole.is_empty() {
            waiting.extend_from_slice(whole);
            self.output.raw(is_error, waiting);
            self.output.flush();
            waiting.clear();
        }
        waiting.extend_from_slice(rest);
    }

    /// What a stage has printed after its last whole line.
    fn rest(&mut self, stage: usize) {
        for is_error in [false, true] {
            let partial = self.partial.as_mut();
            let rest = partial.and_then(|partial| partial.remove(&(stage, is_error)));
            if let Some(mut rest) = rest.filter(|rest| !rest.is_empty()) {
                rest.push(b'\n');
                self.output.raw(is_error, &rest);
            }
        }
    }
}
