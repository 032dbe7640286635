//! A queue of requests for drives that do one after the other.
//!
//! Its places are made once, so that memory can be written out when there is none left. All of
//! it runs in tasks and in what interrupts leave for later, never in an interrupt handler.

use abi::errno::{EIO, Result};

use crate::{
    mm::Page,
    sync::SpinLock,
    task::wait::{WaitQueue, wait_event_uninterruptible},
};

/// Requests that may wait at a time (`nr_requests`).
const PLACES: usize = 32;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
    /// What was written reaches the medium.
    Flush,
}

impl Op {
    /// `REQ_OP_…` by number and name.
    pub fn number_and_name(self) -> (u32, &'static str) {
        match self {
            Op::Read => (0, "READ"),
            Op::Write => (1, "WRITE"),
            Op::Flush => (2, "FLUSH"),
        }
    }
}

/// Sectors and the part of a page that holds them.
#[derive(Clone, Copy)]
pub struct Segment {
    /// The page, locked or otherwise kept by whoever asks.
    pub page: &'static Page,
    /// First byte in it.
    pub offset: u32,
    /// Sectors.
    pub sectors: u32,
}

/// A request, as the driver sees it.
#[derive(Clone, Copy)]
pub struct Request {
    /// Number of the drive.
    pub unit: u8,
    /// What to do.
    pub op: Op,
    /// First sector on the disk.
    pub sector: u64,
    /// Where the data is; a flush has none.
    pub segment: Option<Segment>,
}

/// What does the work. It is called with the queue unlocked, for one request at a time.
pub trait Driver: Sync {
    /// Begins a request. The driver ends it by [`Queue::complete`], sooner or later.
    fn start(&self, request: Request);
}

#[derive(Clone, Copy)]
enum Place {
    Free,
    Waiting(Request),
    Done(Result<()>),
}

struct Inner {
    places: [Place; PLACES],
    /// Numbers of the places that wait, in their order.
    order: [u8; PLACES],
    waiting: usize,
    active: Option<u8>,
}

/// The queue.
pub struct Queue {
    inner: SpinLock<Inner>,
    freed: WaitQueue,
    done: [WaitQueue; PLACES],
    driver: &'static dyn Driver,
}

impl Queue {
    /// An empty queue.
    pub fn new(driver: &'static dyn Driver) -> Self {
        let inner = Inner { places: [Place::Free; PLACES], order: [0; PLACES], waiting: 0, active: None };
        Queue {
            inner: SpinLock::new(inner),
            freed: WaitQueue::default(),
            done: core::array::from_fn(|_| WaitQueue::default()),
            driver,
        }
    }

    /// Moves sectors. Sleeps until it is done. EIO.
    pub fn transfer(&self, unit: u8, op: Op, sector: u64, segment: Segment) -> Result<()> {
        self.run(Request { unit, op, sector, segment: Some(segment) })
    }

    /// Flushes the drive's cache. Sleeps until it is done. EIO.
    pub fn flush(&self, unit: u8) -> Result<()> {
        self.run(Request { unit, op: Op::Flush, sector: 0, segment: None })
    }

    fn run(&self, request: Request) -> Result<()> {
        let mut place = None;
        wait_event_uninterruptible(&self.freed, || {
            place = place.or_else(|| self.enter(request));
            place.is_some()
        });
        let place = place.map_or(0, usize::from);
        self.start_next();
        let mut result = Err(EIO);
        wait_event_uninterruptible(&self.done[place], || match self.inner.lock().places[place] {
            Place::Done(outcome) => {
                result = outcome;
                true
            }
            _ => false,
        });
        self.inner.lock().places[place] = Place::Free;
        self.freed.wake_all();
        result
    }

    fn enter(&self, request: Request) -> Option<u8> {
        let mut inner = self.inner.lock();
        let place = inner.places.iter().position(|place| matches!(place, Place::Free))?;
        inner.places[place] = Place::Waiting(request);
        let last = inner.waiting;
        inner.order[last] = place as u8;
        inner.waiting += 1;
        Some(place as u8)
    }

    /// Gives the driver the oldest request, if it has none.
    fn start_next(&self) {
        let request = {
            let mut inner = self.inner.lock();
            if inner.active.is_some() || inner.waiting == 0 {
                return;
            }
            let place = inner.order[0];
            inner.order.copy_within(1.., 0);
            inner.waiting -= 1;
            inner.active = Some(place);
            match inner.places[usize::from(place)] {
                Place::Waiting(request) => request,
                _ => unreachable!("a place in the order waits"),
            }
        };
        self.driver.start(request);
    }

    /// The driver has done the request that it had, and gets the next.
    pub fn complete(&self, result: Result<()>) {
        let place = {
            let mut inner = self.inner.lock();
            let Some(place) = inner.active.take() else { return };
            inner.places[usize::from(place)] = Place::Done(result);
            place
        };
        self.done[usize::from(place)].wake_all();
        self.start_next();
    }
}
