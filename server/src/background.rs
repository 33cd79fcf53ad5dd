//! The background workers: one thread for flushes, which writers wait for in the end, and one of
//! low priority for compactions. Knows nothing of what they do.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};
use tilekv_engine::disk::Disk;
use tilekv_engine::{Task, TaskResult};

use crate::limits::BACKGROUND_NICENESS;
use crate::machine;

/// The committer's side of the workers. The engine bounds how many tasks it hands out.
pub(crate) struct Background {
    flushes: Sender<Task>,
    compactions: Sender<Task>,
    finished: Receiver<TaskResult>,
    running: u64,
}

impl Background {
    /// Starts the workers.
    pub(crate) fn start_workers(disk: &Arc<dyn Disk>) -> std::io::Result<Self> {
        let (done, finished) = unbounded();
        let flushes = start_worker("flush", 0, Arc::clone(disk), done.clone())?;
        let compactions = start_worker("compact", BACKGROUND_NICENESS, Arc::clone(disk), done)?;
        Ok(Self { flushes, compactions, finished, running: 0 })
    }

    /// Hands a task to its worker.
    pub(crate) fn start(&mut self, task: Task) {
        self.running += 1;
        let worker = if task.is_flush() { &self.flushes } else { &self.compactions };
        if worker.send(task).is_err() {
            unreachable!("a worker takes tasks as long as this side lives");
        }
    }

    /// Where results arrive.
    pub(crate) fn finished(&self) -> &Receiver<TaskResult> {
        &self.finished
    }

    /// Counts a result that was taken.
    pub(crate) fn note_finished(&mut self) {
        self.running -= 1;
    }

    /// Tasks that were started and not taken back.
    pub(crate) fn running(&self) -> u64 {
        self.running
    }

    /// Whether there is none.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }
}

fn start_worker(
    name: &str,
    niceness: i32,
    disk: Arc<dyn Disk>,
    done: Sender<TaskResult>,
) -> std::io::Result<Sender<Task>> {
    let (tasks, waiting) = unbounded::<Task>();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if niceness != 0 {
            machine::lower_priority(niceness);
        }
        for task in waiting {
            if done.send(task.run(disk.as_ref())).is_err() {
                return;
            }
        }
    })?;
    Ok(tasks)
}
