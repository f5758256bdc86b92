use super::*;

fn run() -> Run {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    Run::pending(
        RunId::new(at, 1),
        WorkflowId::new(at, 2),
        None,
        Trigger::Api,
        "sha256:00".into(),
    )
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_001).unwrap()
}

#[test]
fn ended_run_stays_ended() {
    let fault = || RunError::platform("x", "X", "x");
    let ended = [
        run().complete("sha256:01".into(), vec![], now()).unwrap(),
        run().fault(fault(), now()).unwrap(),
        run().cancel(now()).unwrap(),
    ];
    for run in ended {
        let status = run.status;
        assert_eq!(
            run.clone().start(1, now()),
            Err(TransitionError::Ended(status))
        );
        assert_eq!(
            run.clone().cancel(now()),
            Err(TransitionError::Ended(status))
        );
        assert_eq!(
            run.clone().fault(fault(), now()),
            Err(TransitionError::Ended(status))
        );
        assert!(run.complete(String::new(), vec![], now()).is_err());
    }
}

#[test]
fn only_faulted_run_is_retried() {
    assert_eq!(
        run().retry(0),
        Err(TransitionError::NotFaulted(Status::Pending))
    );
    let faulted = run()
        .start(3, now())
        .unwrap()
        .fault(RunError::platform("x", "X", "x"), now());
    let again = faulted.unwrap().retry(7).unwrap();
    assert_eq!(
        (again.status, again.attempts, again.retries, again.log_base),
        (Status::Pending, 0, 1, 7)
    );
    assert_eq!(again.workflow_version, Some(3));
    assert_eq!(again.error, None);
}

#[test]
fn only_suspended_run_is_resumed() {
    let held = run().suspend();
    assert_eq!(held.status, Status::Suspended);
    assert_eq!(held.clone().resume().unwrap(), run());
    assert_eq!(
        run().resume(),
        Err(TransitionError::NotSuspended(Status::Pending))
    );
    assert_eq!(held.cancel(now()).unwrap().status, Status::Cancelled);
}

#[test]
fn waiting_resets_attempts() {
    let mut run = run();
    for _ in 0..2 * MAX_ATTEMPTS {
        let running = run.start(1, now()).unwrap();
        assert_eq!((running.status, running.attempts), (Status::Running, 1));
        run = running.wait(1, Some(now()), true, now()).unwrap();
        assert_eq!(run.status, Status::Waiting);
        assert!(run.has_journal());
    }
    let ended = run.cancel(now()).unwrap();
    assert_eq!((ended.wakes_at, ended.awaits_run), (None, false));
    assert!(ended.wait(1, None, false, now()).is_err());
}

#[test]
fn start_that_is_taken_back_does_not_count() {
    let mut run = run();
    for _ in 0..2 * MAX_ATTEMPTS {
        run = run.start(1, now()).unwrap().take_back_start();
        assert_eq!((run.status, run.attempts), (Status::Running, 0));
    }
}

#[test]
fn run_is_exhausted_after_max_attempts() {
    let mut run = run();
    for _ in 0..MAX_ATTEMPTS {
        run = run.start(1, now()).unwrap();
    }
    assert_eq!(run.start(1, now()), Err(TransitionError::Exhausted));
}
