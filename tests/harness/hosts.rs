//! Test servers on a thread of their own, for blocking tests.

use std::{sync::mpsc, thread};

use aias_testkit::hosts::Hosts;

/// Starts test servers and returns their base URL.
#[must_use]
pub fn start() -> (Hosts, String) {
    let (hosts, (sender, receiver)) = (Hosts::default(), mpsc::channel());
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
    (hosts, receiver.recv().unwrap())
}
