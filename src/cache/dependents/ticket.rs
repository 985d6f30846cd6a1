//! A place in the table of dependents, given up when it is dropped.

use std::cell::RefCell;
use std::rc::Rc;

use super::links::NONE;

/// Keeps a place in the table; dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    link: u32,
    released: Released,
}

/// Where places are given up.
pub(crate) type Released = Rc<RefCell<Vec<u32>>>;

impl Ticket {
    /// The ticket of a place, by the number of its first link.
    pub(crate) fn of(link: u32, released: &Released) -> Ticket {
        Ticket {
            link,
            released: Rc::clone(released),
        }
    }

    /// The number of the place, which somebody else gives up.
    pub(crate) fn hand_over(mut self) -> (u32, Released) {
        let link = std::mem::replace(&mut self.link, NONE);
        (link, Rc::clone(&self.released))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.link != NONE {
            self.released.borrow_mut().push(self.link);
        }
    }
}
