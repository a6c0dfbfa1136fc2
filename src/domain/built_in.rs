//! This crate's own domains.

use crate::domain::definition::DomainDef;
use crate::domain::{
    assertion, environment, experiment, metrics, packet, pipeline, plugin, service, step, test,
};

pub(super) const BUILT_IN: &[DomainDef] = &[
    pipeline::DOMAIN,
    experiment::DOMAIN,
    test::DOMAIN,
    service::DOMAIN,
    environment::DOMAIN,
    step::DOMAIN,
    assertion::DOMAIN,
    plugin::DOMAIN,
    metrics::DOMAIN,
    packet::DOMAIN,
];
