//! Taking over a configuration that was read again: everything at once, or nothing.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use super::{EventLoop, Phase, register_listener};
use crate::server::reload::{Before, Prepared, PreparedSite, restart_needed};
use crate::server::start::{by_host, connection_policy};
use crate::site::sites::{Site, SiteId};

impl EventLoop {
    /// Has the configuration file read again.
    pub(super) fn reload(&mut self) {
        self.reload.want();
        self.begin_reading();
    }

    fn begin_reading(&mut self) {
        let Some(read) = &self.configuration.read else {
            return;
        };
        let (configuration, store) = (&self.configuration, &self.store);
        let before = || Before {
            settings: Arc::clone(&configuration.settings),
            root: store.any_root(),
            watches: store.root_watches().cloned(),
        };
        if let Err(error) = self.reload.begin(read, before) {
            let line = format!("the configuration was not read again: no thread: {error}");
            self.notices.push(&line);
        }
    }

    /// Takes a reading in that is over.
    pub(super) fn end_reading(&mut self) {
        match self.reload.take() {
            None => return,
            // The process ends with the sites that it has.
            Some(_) if self.phase != Phase::Serving => {}
            Some(Err(line)) => {
                let line = format!("{line}; the configuration stays as it was");
                self.notices.push(&line);
            }
            Some(Ok(prepared)) => self.reconfigure(prepared),
        }
        // A signal may have come meanwhile.
        self.begin_reading();
    }

    fn reconfigure(&mut self, prepared: Prepared) {
        let Prepared {
            settings,
            sites,
            listeners,
        } = prepared;
        let mut added = 0;
        let mut in_order = Vec::with_capacity(sites.len());
        for (of, site) in settings.sites.iter().zip(sites) {
            in_order.push(match site {
                PreparedSite::Kept(place) => Rc::clone(&self.configuration.sites[place]),
                PreparedSite::New(root, found) => {
                    added += 1;
                    let site = Rc::new(Site {
                        id: self.store.next_site(),
                        policy: of.policy.clone(),
                    });
                    self.store.add_site(Rc::clone(&site), root, found);
                    site
                }
            });
        }
        let hosts = settings.sites.iter().map(|of| &*of.hosts);
        self.sites.replace(by_host(hosts.zip(&in_order)));
        let kept: HashSet<SiteId> = in_order.iter().map(|site| site.id).collect();
        let all = self.configuration.sites.iter().map(|site| site.id);
        let gone: Vec<SiteId> = all.filter(|id| !kept.contains(id)).collect();
        self.store.retire_sites(&gone, &in_order[0]);
        self.driver.policy = connection_policy(&settings);
        self.grace = settings.grace;
        for listener in listeners {
            let descriptor = listener.descriptor();
            let index = self.acceptor.add(listener);
            if let Err(error) = register_listener(self.poll.registry(), descriptor, index) {
                self.notices.push(&format!(
                    "cannot wait for connections at a new address: {error}"
                ));
            }
        }
        self.acceptor.keep_only(&settings.listen);
        let mut line = format!(
            "the configuration was read again: {} sites, of which {added} are new or have changed; {} were removed",
            in_order.len(),
            gone.len()
        );
        let restart = restart_needed(&self.configuration.started_with, &settings);
        if !restart.is_empty() {
            line.push_str(&format!("; a restart is needed for {}", restart.join("; ")));
        }
        self.notices.push(&line);
        self.configuration.settings = settings;
        self.configuration.sites = in_order;
    }
}
