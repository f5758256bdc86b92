//! Hosts on a thread of their own, for tests that block.

use std::{sync::mpsc, thread};

use aias_testkit::hosts::Hosts;

/// Hosts, and where they are.
#[must_use]
pub fn start() -> (Hosts, String) {
    let (hosts, (sender, told)) = (Hosts::default(), mpsc::channel());
    let own = hosts.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            sender.send(own.start().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    (hosts, told.recv().unwrap())
}
