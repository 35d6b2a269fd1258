//! A schedule: everything that a run needs of chance, as data. A run is a function of its schedule and of nothing else,
//! so a schedule that breaks an invariant can be made shorter, step by step.

use std::time::Duration;

use super::die::Die;
use super::directory::{Change, NAMES_THERE};
use super::events::{Item, NOISES, Noise, Parcel, Said, Voice, Word, Wrap};
use super::troubles::{How, Part, Planned, planned};

/// People and those who only look like them. One has a second name by rule, which is spoken of by itself as well.
const NAMES: [&str; 9] = ["alice", "bob", "alice2", "malice", "ceo", "Alice", "dana@corp.example", "dana", "erin"];

/// What people are called by rule.
pub(super) const ALIASES: &str = "corp.example: {subject} {local}";

/// Names that are given to people, and taken away.
pub(super) const FURTHER: [&str; 2] = ["laptop-7", "laptop-8"];

/// What is given at once: at times the name of somebody else.
const GIVEN: [&[&str]; 5] = [&["laptop-7"], &["laptop-7"], &["laptop-8"], &["laptop-7", "laptop-8"], &["bob"]];

/// Whom nobody may cut off.
pub(super) const PROTECTED: &str = "ceo";

/// How late a listing may show a new connection.
const LISTED_LATE: u64 = 4;

/// How old what a listing shows may be.
const OLD: u64 = 4;

/// How far listings may lag in all; less than the settle time, which is what that is for.
pub(super) const LAG: Duration = Duration::from_secs(LISTED_LATE + OLD);

/// How far an environment's clock may be off, in milliseconds. Lambda keeps its clocks within a few; a clock that is
/// seconds off has lost its source.
const SKEW: u64 = 4_000;

/// How many environments of the function there are at the most.
const ENVIRONMENTS: u64 = 3;

/// How many accounts and Regions there are.
pub(super) const TARGETS: usize = 2;

/// What may be down, the targets more often than the rest.
const PARTS: [Part; 7] =
    [Part::Target(0), Part::Target(1), Part::Target(0), Part::Target(1), Part::Locks, Part::Audit, Part::Directory];

/// How many endpoints each of them has.
pub(super) const ENDPOINTS: usize = 2;

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// How the company is set up.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// How many holds an authority may bring into force in ten minutes.
    pub(super) max_subjects: usize,
    /// The connect handler is wired: whoever is locked does not come back.
    pub(super) door: bool,
    /// How many milliseconds each environment's clock is ahead.
    pub(super) ahead: Vec<i64>,
    /// Whoever closes a circuit breaker raises its limit first; otherwise only once it has opened again.
    pub(super) believes: bool,
    /// In which order the queue hands out, and what it hands out twice.
    pub(super) queue: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its number for good, whichever steps are taken out before it: what is said in it carries it.
    pub(super) number: u64,
    /// How long before it nothing is begun.
    pub(super) pause: Duration,
    /// After that, the next full minute is waited for: jobs run then, and an environment whose clock is behind is still in
    /// the minute before.
    pub(super) on_the_minute: bool,
    pub(super) what: What,
    /// Which calls go wrong from here to the next step.
    pub(super) mishaps: Vec<Planned>,
    /// So long after it an environment crashes: of those that work, the one whose turn this number says it is.
    pub(super) crash: Option<(Duration, usize)>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// Somebody's clients connect.
    Connect {
        name: String,
        /// Known by certificate alone.
        certificate: bool,
        target: usize,
        endpoint: usize,
        clients: usize,
        listed_after: Duration,
        returns: Option<Duration>,
    },
    /// Messages are put into the queue, one for each.
    Send(Vec<Parcel>),
    /// A person invokes an environment with a command, and waits for the answer.
    Ask { said: Said, environment: usize },
    /// A sweep begins in an environment: by schedule, or by command, which may be a dry run or look at one target only.
    Sweep { environment: usize, commanded: bool, dry: bool, only: Option<usize> },
    /// A part of AWS is down.
    Outage { part: Part, how: How, lasts: Duration },
    /// The listings of a target show how everything stood a moment ago.
    OldListing { target: usize, age: Duration, lasts: Duration },
    /// An administrator changes the directory: at somebody whose turn this number says it is. An event may tell of it,
    /// which may hide what it is about.
    Directory { change: Change, turn: usize, told: bool, hidden: bool },
    /// Somebody pulls the emergency brake: the function only watches.
    Shadow { lasts: Duration },
    /// Time passes.
    Wait,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut die = Die::new(seed);
        let environments = 1 + die.below(ENVIRONMENTS);
        let skewed = die.one_in(2);
        let mut ahead =
            |_| if skewed { i64::try_from(die.below(2 * SKEW)).unwrap() - i64::try_from(SKEW).unwrap() } else { 0 };
        let ahead = (0..environments).map(&mut ahead).collect();
        let setup = Setup {
            max_subjects: *die.of(&[1, 3]),
            door: die.one_in(2),
            ahead,
            believes: die.one_in(2),
            queue: die.next(),
        };
        // Some runs are calm, so that long stories are told to their end as well.
        let rate = *die.of(&[0, 60, 25, 12]);
        let steps = 10 + die.below(12);
        let mut writer = Writer { die, environments: setup.ahead.len(), rate, said: Vec::new(), story: Vec::new() };
        Self { steps: (0..steps).map(|number| writer.step(number)).collect(), setup }
    }

    /// How far apart two clocks of this run, the world's included, may be.
    pub(super) fn skew(&self) -> Duration {
        let furthest = self.setup.ahead.iter().map(|ahead| ahead.unsigned_abs()).max();
        Duration::from_millis(furthest.unwrap_or_default())
    }
}

/// How the names begin of those who are all out at once.
const MANY: &str = "employee-";

/// A name that was given is spoken of by itself once in so many times.
const SELDOM: u64 = 24;

/// Somebody, by a name that was given once in so many times.
fn somebody(die: &mut Die, further: u64) -> String {
    if die.one_in(8) {
        return (*die.of(&NAMES_THERE)).to_owned();
    }
    let names: &[&str] = if die.one_in(further) { &FURTHER } else { &NAMES };
    (*die.of(names)).to_owned()
}

/// Writes the steps of a schedule.
struct Writer {
    die: Die,
    environments: usize,
    rate: u64,
    /// What was said so far: some of it is said again.
    said: Vec<Said>,
    /// What is still to be said of one person and a name that comes and goes.
    story: Vec<(Voice, Word, String)>,
}

impl Writer {
    fn step(&mut self, number: u64) -> Step {
        let pause = self.die.seconds(25);
        let what = match self.die.below(54) {
            50..=53 => self.the_directory_changes(),
            0..=11 => self.somebody_connects(),
            12..=15 => self.two_speak_at_once(number),
            16..=23 => self.something_is_said(number),
            24..=29 => self.something_is_said_again(number),
            30..=31 => self.everybody_is_out(number),
            32 => What::Ask { said: self.command(number, 0), environment: self.die.place(self.environments) },
            33..=36 => self.a_sweep_begins(),
            37..=42 => self.something_is_down(),
            43..=44 => What::OldListing {
                target: self.die.place(TARGETS),
                age: self.die.seconds(OLD),
                lasts: Duration::from_secs(5) + self.die.seconds(60),
            },
            45 => What::Shadow { lasts: Duration::from_secs(30) + self.die.seconds(400) },
            _ => What::Wait,
        };
        // Long enough at times for a message to come again.
        let pause = if matches!(what, What::Wait) { self.die.seconds(240) } else { pause };
        let on_the_minute = matches!(&what, What::Send(parcels) if parcels.len() > 4);
        let mishaps = planned(&mut self.die, self.rate);
        let crash = self.die.one_in(6).then(|| (self.die.seconds(20), self.die.place(8)));
        Step { number, pause, on_the_minute, what, mishaps, crash }
    }

    fn somebody_connects(&mut self) -> What {
        let die = &mut self.die;
        What::Connect {
            name: somebody(die, 3),
            certificate: die.one_in(3),
            target: die.place(TARGETS),
            endpoint: die.place(ENDPOINTS),
            clients: 1 + die.place(4),
            listed_after: die.seconds(LISTED_LATE),
            returns: die.one_in(2).then(|| Duration::from_secs(2) + die.seconds(40)),
        }
    }

    fn the_directory_changes(&mut self) -> What {
        let die = &mut self.die;
        let name = *die.of(&NAMES_THERE);
        let change = match die.below(8) {
            0..=2 => Change::Off,
            3..=4 => Change::On,
            5 => Change::Gone,
            6 => Change::Renamed(name),
            _ => Change::Hired(name),
        };
        What::Directory { change, turn: die.place(8), told: !die.one_in(3), hidden: die.one_in(3) }
    }

    /// What somebody says: the `k`th thing that is said in this step.
    fn saying(&mut self, number: u64, k: u64) -> Said {
        let by = *self.die.of(&[Voice::Okta, Voice::JumpCloud, Voice::Command]);
        self.saying_by(by, number, k)
    }

    fn command(&mut self, number: u64, k: u64) -> Said {
        self.saying_by(Voice::Command, number, k)
    }

    fn saying_by(&mut self, by: Voice, number: u64, k: u64) -> Said {
        let whom = self.whom();
        let die = &mut self.die;
        let word = match (die.below(13), by) {
            (0, Voice::Command) => Word::Revoke { lapses_in: Some(20 + die.below(200)) },
            (0..=6, _) => Word::Revoke { lapses_in: None },
            (7, Voice::Command) => Word::Disconnect,
            (8, Voice::Command) => Word::RestoreAll,
            (9..=10, Voice::Command) => Word::Alias(die.of::<&[&str]>(&GIVEN)),
            (11..=12, Voice::Command) => Word::Unalias(die.of::<&[&str]>(&GIVEN)),
            _ => Word::Restore,
        };
        // In steps of ten seconds, so that ties come up.
        let ago = Duration::from_secs(die.below(4) * 10);
        let mut said = Said { id: format!("{number}-{k}"), by, word, about: vec![whom], ago };
        if said.may_be_about_several() && die.one_in(5) {
            said.about.push(somebody(die, SELDOM));
        }
        self.said.push(said.clone());
        said
    }

    /// Somebody: often whom something was said of before, so that stories come of it.
    fn whom(&mut self) -> String {
        let spoken_of = self.said.iter().filter_map(|said| said.about.first());
        let spoken_of: Vec<&String> = spoken_of.filter(|name| !name.starts_with(MANY)).collect();
        if !spoken_of.is_empty() && self.die.one_in(3) {
            return (*self.die.of(&spoken_of)).clone();
        }
        somebody(&mut self.die, SELDOM)
    }

    /// A message, with or without neighbours that nobody can read.
    fn parcel(&mut self, said: Vec<Said>) -> Parcel {
        let die = &mut self.die;
        let hooked = said.iter().all(|said| said.by == Voice::Okta);
        let mut items: Vec<Item> = said.into_iter().map(Item::Says).collect();
        let wrap = match die.below(6) {
            0 if hooked => Wrap::Hook,
            1 if items.len() == 1 => Wrap::Sns,
            2..=4 if items.len() == 1 => Wrap::None,
            _ => Wrap::Array,
        };
        if matches!(wrap, Wrap::Array | Wrap::Hook) && die.one_in(2) {
            let noise = if wrap == Wrap::Hook { Noise::Unknown } else { *die.of(&NOISES) };
            let place = die.place(items.len() + 1);
            items.insert(place, Item::Noise(noise));
        }
        Parcel { items, wrap }
    }

    /// A name is given to somebody, who is revoked, loses it and is let in: or some of that.
    fn tell_of_a_name(&mut self) {
        let die = &mut self.die;
        let (whom, by) = (somebody(die, SELDOM), *die.of(&[Voice::Okta, Voice::JumpCloud, Voice::Command]));
        let names = *die.of::<&[&str]>(&GIVEN);
        let last = if die.one_in(3) { Word::Revoke { lapses_in: None } } else { Word::Restore };
        let whole = [
            (Voice::Command, Word::Alias(names)),
            (by, Word::Revoke { lapses_in: None }),
            (Voice::Command, Word::Unalias(names)),
            (by, last),
        ];
        let some = whole.into_iter().filter(|_| !die.one_in(8)).map(|(by, word)| (by, word, whom.clone()));
        self.story = some.rev().collect();
    }

    fn next_of_the_story(&mut self, number: u64) -> Option<Said> {
        let (by, word, whom) = self.story.pop()?;
        let said = Said { id: format!("{number}-s"), by, word, about: vec![whom], ago: Duration::ZERO };
        self.said.push(said.clone());
        Some(said)
    }

    fn something_is_said(&mut self, number: u64) -> What {
        let mut parcels = Vec::new();
        if self.story.is_empty() && self.die.one_in(4) {
            self.tell_of_a_name();
        }
        if let Some(said) = self.next_of_the_story(number) {
            parcels.push(self.parcel(vec![said]));
        }
        for k in 0..1 + self.die.below(3) {
            let mut said = vec![self.saying(number, 2 * k)];
            if self.die.one_in(4) {
                said.push(self.saying(number, 2 * k + 1));
            }
            parcels.push(self.parcel(said));
        }
        if self.die.one_in(3) {
            let noise = *self.die.of(&NOISES);
            parcels.push(Parcel { items: vec![Item::Noise(noise)], wrap: Wrap::None });
        }
        What::Send(parcels)
    }

    /// Two authorities have a word about one person at the same moment.
    fn two_speak_at_once(&mut self, number: u64) -> What {
        let (first, second) = (self.saying(number, 0), self.saying(number, 1));
        let about = if second.may_be_about_several() { first.about.clone() } else { first.about[..1].to_vec() };
        let second = Said { about, ..second };
        if let Some(last) = self.said.last_mut() {
            last.about.clone_from(&second.about);
        }
        What::Send(vec![self.parcel(vec![first]), self.parcel(vec![second])])
    }

    /// A producer sends again what it sent before, as another message and maybe in another shape.
    fn something_is_said_again(&mut self, number: u64) -> What {
        if self.said.is_empty() {
            return self.something_is_said(number);
        }
        let parcels = (0..1 + self.die.below(2)).map(|_| {
            let said = self.die.of(&self.said).clone();
            self.parcel(vec![said])
        });
        What::Send(parcels.collect())
    }

    /// A directory was emptied by mistake: in one message, or in one for each person.
    fn everybody_is_out(&mut self, number: u64) -> What {
        let by = *self.die.of(&[Voice::Okta, Voice::JumpCloud]);
        let said = (0..8).map(|k| Said {
            id: format!("{number}-{k}"),
            by,
            word: Word::Revoke { lapses_in: None },
            about: vec![format!("{MANY}{k}")],
            ago: Duration::ZERO,
        });
        let said: Vec<Said> = said.collect();
        self.said.extend(said.iter().cloned());
        match self.die.one_in(3) {
            true => What::Send(said.into_iter().map(|said| self.parcel(vec![said])).collect()),
            false => What::Send(vec![self.parcel(said)]),
        }
    }

    fn a_sweep_begins(&mut self) -> What {
        let die = &mut self.die;
        let environment = die.place(self.environments);
        let commanded = die.one_in(2);
        let (dry, one) = (die.one_in(3), die.one_in(3));
        let target = die.place(TARGETS);
        What::Sweep { environment, commanded, dry: commanded && dry, only: Some(target).filter(|_| commanded && one) }
    }

    fn something_is_down(&mut self) -> What {
        let die = &mut self.die;
        let part = *die.of(&PARTS);
        let how = match part {
            Part::Target(_) => *die.of(&[How::Fails, How::Hangs, How::Denied, How::Throttled]),
            Part::Locks | Part::Audit | Part::Directory => *die.of(&[How::Fails, How::Hangs]),
        };
        // Some last long enough for the queue to give up.
        let lasts = match die.one_in(4) {
            true => Duration::from_secs(150) + die.seconds(500),
            false => Duration::from_secs(10) + die.seconds(60),
        };
        What::Outage { part, how, lasts }
    }
}
