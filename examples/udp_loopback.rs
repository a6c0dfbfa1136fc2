//! A small packet-level test: clients send datagrams to a server over loopback, which sends each of them back.
//!
//! ```sh
//! cargo run --example udp_loopback --all-features -- target/udp_loopback
//! ```
//!
//! What it shows:
//!
//! - **threads** with an emitter each: a server, three clients, and a coordinator;
//! - **packets** seen at two vantage points, from which loss and one-way delay follow without a word by the test;
//! - **lifecycle events** of an experiment, a test, a service, steps and assertions, each in its context;
//! - **waiting for a state**: the clients begin when the server is ready, wherever it says so;
//! - **assertions** on a quantile of the delay and on loss, while the pipeline runs;
//! - **a result directory**, with files like those that the command `panther-events` writes.
//!
//! It ends with status 0 when all assertions hold, and 1 when one does not.

use panther_events::domain::packet::PacketSeen;
use panther_events::domain::{assertion, metrics, step, test};
use panther_events::emit::{EmitError, Emitter, ErrorEvent};
use panther_events::event::{Context, Domain, EventId, Level, Symbol, Value};
use panther_events::export::from_snapshot::{EventFile, write_entity_states, write_exposition};
use panther_events::export::summary::Summary;
use panther_events::export::{Overwrite, ResultDir};
use panther_events::observe::metrics::{Metrics, quantile};
use panther_events::observe::results::{Outcome, Results, ResultsReport};
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::paths::{Sightings, SightingsOptions, SightingsReport};
use panther_events::pipeline::{Account, Handle, Pipeline};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

type Failure = Box<dyn Error + Send + Sync>;

const CLIENTS: u32 = 3;
const ROUNDS: u32 = 400;
const EXPERIMENT: &str = "udp-loopback";
const TEST: &str = "echo";
const SERVER: &str = "server";
/// Of all datagrams, in one direction.
const LOSS_MAX: f64 = 0.01;
/// Ninety-nine in a hundred datagrams arrive within this time. Loopback takes microseconds; a machine that is busy with
/// other things, longer.
const DELAY_P99_MAX: Duration = Duration::from_millis(250);
/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let out = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/udp_loopback"), PathBuf::from);
    match run(&out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            complain(&*failure);
            ExitCode::FAILURE
        }
    }
}

/// Runs the test, writes its results, and says whether all assertions held.
fn run(out: &Path) -> Result<bool, Failure> {
    let results = ResultDir::create(out, Overwrite::Force)?;
    let event_log = EventFile::new(results.file("events.jsonl")?);

    // 1. Observers say what is to become of events; the pipeline runs them on a thread of its own.
    let mut builder = Pipeline::builder();
    let vantages = vec![Symbol::of("client"), Symbol::of("server")];
    let pairing = SightingsOptions { vantages, ..SightingsOptions::default() };
    let sightings = builder.observer("sightings", move |_| Sightings::new(&pairing));
    let measures = builder.observer("metrics", |setup| Metrics::new(setup.schema));
    let states = StateQuery::new(StateOptions::default());
    let machines = {
        let states = states.clone();
        builder.observer("state", move |setup| states.observer(setup.schema, setup.symbols, setup.contexts))
    };
    let verdicts =
        builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let log = event_log.clone();
    builder.observer("events", move |setup| log.observer(setup, false));
    let pipeline = builder.start()?;

    // 2. The coordinator tells what the test is about to do. Its context holds for all that it emits.
    let mut coordinator = pipeline.emitter("coordinator")?;
    coordinator.enter(Level::Experiment, EXPERIMENT)?;
    begin_experiment(&mut coordinator)?;
    coordinator.enter(Level::Test, TEST)?;
    begin_test(&mut coordinator)?;
    let context = coordinator.context();

    // 3. The server serves until it is told to stop; the clients wait for it, each on a thread of its own.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    let handle = pipeline.handle();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&handle, context, &socket));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let (handle, states) = (&handle, &states);
                    move || exchange(handle, context, states, number, address)
                })
            })
            .collect();
        let mut ended: Vec<Result<(), Failure>> = clients.into_iter().map(join).collect();
        // An empty datagram ends the server, also when a client has failed.
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(&[], address)?;
        ended.push(join(server));
        for failure in ended.into_iter().filter_map(Result::err) {
            // An error is an event too, with all its causes.
            ErrorEvent::of_dyn(&*failure).emit(&mut coordinator, TEST)?;
            complain(&*failure);
        }
        Ok::<(), Failure>(())
    })?;

    // 4. Everything that was emitted has been observed after this. A packet that was seen once counts as lost only when
    //    no more packets can come: taking the observer out brings it to that end.
    pipeline.drain(Duration::from_secs(10))?;
    let seen = pipeline.remove_observer(sightings)?;
    check(&mut coordinator, &seen)?;
    end(&mut coordinator)?;
    drop(coordinator);

    // 5. The last snapshot becomes files, which appear together or not at all.
    let snapshot = pipeline.shutdown();
    event_log.commit()?;
    let mut summary = Summary::new(&snapshot, "fused", snapshot.elapsed.as_secs_f64());
    summary.add_sightings(&seen, &snapshot, None);
    if let Some(known) = snapshot.report(machines) {
        summary.add_states(known);
        let mut file = results.file("states.csv")?;
        write_entity_states(&mut file, known, &snapshot)?;
        file.commit()?;
    }
    if let Some(found) = snapshot.report(verdicts) {
        summary.add_results(found, &snapshot);
    }
    let mut file = results.file("metrics.om")?;
    write_exposition(&mut file, &snapshot, &[], snapshot.report(measures), Some(&seen))?;
    file.commit()?;
    let mut file = results.file("summary.json")?;
    summary.write(&mut file)?;
    file.commit()?;
    results.commit()?;
    tell(&snapshot.account, &seen, out);
    Ok(holds(snapshot.report(verdicts)))
}

/// The server: says that it is ready, and sends back what it gets.
fn serve(handle: &Handle, context: Context, socket: &UdpSocket) -> Result<(), Failure> {
    let mut emitter = handle.emitter(SERVER)?;
    emitter.set_context(context)?;
    let mut emitter = emitter.within(Level::Service, SERVER)?;
    let ports = [socket.local_addr()?.port()];
    {
        let mut service = emitter.service(SERVER);
        service.created(SERVER, "udp", "std", Value::Null)?;
        service.preparation_started(SERVER, Value::Null)?;
        service.preparation_completed(SERVER, Default::default())?;
        service.deployment_started(SERVER, "loopback", Default::default())?;
        service.deployment_completed(SERVER, "loopback", &ports, Default::default())?;
        service.started(SERVER, Default::default())?;
        service.ready(SERVER, Default::default())?;
    }
    let vantage = emitter.symbols().intern("server")?;
    let mut datagram = [0; 64];
    loop {
        let (len, from) = socket.recv_from(&mut datagram)?;
        let got = datagram.get_mut(..len).unwrap_or_default();
        if got.is_empty() {
            break;
        }
        see(&mut emitter, vantage, got)?;
        // The answer is a packet of its own.
        if let Some(direction) = got.first_mut() {
            *direction = ANSWER;
        }
        see(&mut emitter, vantage, got)?;
        socket.send_to(got, from)?;
    }
    emitter.service(SERVER).stopped(SERVER, Default::default())?;
    Ok(emitter.service(SERVER).destroyed(SERVER, Default::default())?)
}

const QUESTION: u8 = 0;
const ANSWER: u8 = 1;

/// A client: waits for the server, and then sends and receives in turn.
fn exchange(
    handle: &Handle,
    context: Context,
    states: &StateQuery,
    number: u32,
    server: SocketAddr,
) -> Result<(), Failure> {
    let step = format!("exchange-{number}");
    let mut emitter = handle.emitter(&step)?;
    emitter.set_context(context)?;
    let mut emitter = emitter.within(Level::Step, &step)?;
    states.wait_until(Domain::SERVICE, Symbol::of(SERVER), &["ready"], Duration::from_secs(10))?;

    emitter.step(&step).execution_started(Value::from(&[SERVER]), &step, Default::default())?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let vantage = emitter.symbols().intern("client")?;
    let (mut answers, mut buffer) = (0, [0; 64]);
    for round in 0..ROUNDS {
        let mut question = [QUESTION; 16];
        question[4..8].copy_from_slice(&number.to_be_bytes());
        question[8..12].copy_from_slice(&round.to_be_bytes());
        let sent_ns = see(&mut emitter, vantage, &question)?;
        socket.send_to(&question, server)?;
        // What does not come in time is lost. The sightings will say so, nothing needs to be counted here.
        let Ok(len) = socket.recv(&mut buffer) else { continue };
        let received_ns = see(&mut emitter, vantage, buffer.get(..len).unwrap_or_default())?;
        let round_trip = Duration::from_nanos(received_ns - sent_ns);
        emitter.metrics("round_trip").timing("echo", round_trip, metrics::TimingMetric::default())?;
        answers += 1;
    }
    let result = [("answers", Value::Unsigned(answers))];
    let completed = step::ExecutionCompleted { result: Some(Value::Map(&result)), ..Default::default() };
    Ok(emitter.step(&step).execution_completed(&step, completed)?)
}

/// Emits that a datagram is at a vantage point now, and returns the time. What makes it the same datagram at the other
/// one is the digest of its bytes.
fn see(emitter: &mut Emitter, vantage: Symbol, datagram: &[u8]) -> Result<u64, EmitError> {
    let now_ns = emitter.clock().now_ns();
    let len_bytes = datagram.len() as u32;
    let seen = PacketSeen {
        vantage,
        wire_len_bytes: len_bytes,
        captured_len_bytes: len_bytes,
        flags: 0,
        vlan: 0,
        protocol: 17,
        ip_version: 4,
    };
    emitter.emit_digest(EventId::digest(datagram), now_ns, Symbol::of("echo over loopback"), &seen)?;
    Ok(now_ns)
}

/// Asserts what the sightings have to show.
fn check(emitter: &mut Emitter, seen: &SightingsReport) -> Result<(), Failure> {
    emitter.test(TEST).step_completed("exchange", Default::default())?;
    emitter.test(TEST).assertions_started(Value::from(&["loss", "delay-p99"]))?;
    let sent: u64 = seen.paths.iter().map(|path| path.sent).sum();
    let lost: u64 = seen.paths.iter().map(|path| path.lost).sum();
    let loss = lost as f64 / sent.max(1) as f64;
    let p99 = seen.paths.iter().filter_map(|path| quantile(&path.delays.histogram, 0.99)).max();
    let delay = p99.map(Duration::from_nanos);
    let passed = [
        claim(
            emitter,
            "loss",
            sent > 0 && loss <= LOSS_MAX,
            &format!("{lost} of {sent} datagrams were lost"),
        )?,
        claim(
            emitter,
            "delay-p99",
            delay.is_some_and(|delay| delay <= DELAY_P99_MAX),
            &format!("99 of 100 datagrams took at most {delay:?}, and may take {DELAY_P99_MAX:?}"),
        )?,
    ];
    let held = passed.iter().filter(|passed| **passed).count() as u64;
    let all = passed.len() as u64;
    Ok(emitter.test(TEST).assertions_completed(all, held, all - held, all == held)?)
}

/// Tells of an assertion, and returns whether it holds.
fn claim(emitter: &mut Emitter, name: &str, holds: bool, message: &str) -> Result<bool, Failure> {
    let mut emitter = emitter.within(Level::Assertion, name)?;
    emitter.assertion(name).validation_started(name, assertion::ValidationStarted::default())?;
    emitter.assertion(name).result(holds, message, name, assertion::AssertionResult::default())?;
    Ok(holds)
}

fn begin_experiment(emitter: &mut Emitter) -> Result<(), EmitError> {
    let mut experiment = emitter.experiment(EXPERIMENT);
    experiment
        .initialized(Value::Map(&[("clients", Value::from(CLIENTS)), ("rounds", Value::from(ROUNDS))]))?;
    experiment.plugin_loading_started(Default::default())?;
    experiment.plugin_loading_completed(Value::List(&[]), 0)?;
    experiment.test_cases_initialized(1, Value::from(&[TEST]))?;
    experiment.execution_started(Default::default())
}

fn begin_test(emitter: &mut Emitter) -> Result<(), EmitError> {
    let mut test = emitter.test(TEST);
    test.created(TEST, Value::Null, Default::default())?;
    test.setup_started(Value::from(&[SERVER]), Default::default())?;
    test.setup_completed(Value::from(&[SERVER]), Default::default())?;
    test.environment_setup_started("loopback", Default::default())?;
    test.environment_setup_completed("loopback", Default::default())?;
    test.deployment_started(Value::from(&[SERVER]))?;
    test.deployment_completed(Value::from(&[SERVER]), Default::default())?;
    test.execution_started(Value::from(&["exchange"]), test::ExecutionStarted::default())?;
    test.step_started("exchange", Default::default())?;
    Ok(())
}

fn end(emitter: &mut Emitter) -> Result<(), EmitError> {
    let mut test = emitter.test(TEST);
    test.teardown_started()?;
    test.teardown_completed(Default::default())?;
    test.completed(TEST, Default::default())?;
    let mut experiment = emitter.experiment(EXPERIMENT);
    experiment.execution_completed(1, 0, 1, Default::default())?;
    experiment.completed(Value::Null)
}

/// The verdict of the observer of results: the test has not failed, and neither has a part of it.
fn holds(found: Option<&ResultsReport>) -> bool {
    let tests = found.map(|found| found.tree().tests).unwrap_or_default();
    !tests.is_empty() && tests.iter().all(|test| test.outcome() == Outcome::Passed)
}

#[allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]
fn tell(account: &Account, seen: &SightingsReport, out: &Path) {
    println!("{} events, {} of them seen twice", account.accepted, account.duplicates);
    for path in &seen.paths {
        let p99 = quantile(&path.delays.histogram, 0.99).map(Duration::from_nanos);
        println!("{} sent, {} lost, 99 of 100 within {p99:?}", path.sent, path.lost);
    }
    println!("results in {}", out.display());
}

#[allow(clippy::print_stderr, reason = "an example talks to whoever runs it")]
fn complain(failure: &(dyn Error + 'static)) {
    eprintln!("error: {failure}");
}

/// The thread's result; that it panicked is a failure as well.
fn join(thread: thread::ScopedJoinHandle<'_, Result<(), Failure>>) -> Result<(), Failure> {
    thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
}
