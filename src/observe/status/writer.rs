//! Writes metric families and their samples for a registry.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::cache::curve::CurvePoint;
use crate::histogram::Bucket;
use crate::store::numbers::CacheNumbers;

/// One sample: its labels and its value.
pub(super) type Sample<'a> = (Vec<(&'a str, &'a str)>, u64);

/// Writes the samples of a family.
fn encode<M: EncodeMetric>(
    mut family: MetricEncoder<'_>,
    samples: &[Sample<'_>],
    metric: impl Fn(u64) -> M,
) -> fmt::Result {
    for (labels, value) in samples {
        let metric = metric(*value);
        match labels.is_empty() {
            true => metric.encode(family.encode_family(&NoLabels)?)?,
            false => metric.encode(family.encode_family(labels)?)?,
        }
    }
    Ok(())
}

/// Writes the families of a registry.
pub(super) struct Writer<'a, 'b>(pub(super) &'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: &[Sample<'_>],
    ) -> fmt::Result {
        let family = self.family(name, help, unit, MetricType::Counter)?;
        encode(family, samples, ConstCounter::new)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: &[Sample<'_>],
    ) -> fmt::Result {
        let family = self.family(name, help, unit, MetricType::Gauge)?;
        encode(family, samples, |value| {
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
        })
    }

    pub(super) fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &'s str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    pub(super) fn durations(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[Bucket],
        total_us: u64,
    ) -> fmt::Result {
        // Counts and microseconds stay far below 2^52, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        let seconds = |us: u64| us as f64 / 1e6;
        let bound = |bucket: &Bucket| bucket.below_us.map_or(f64::MAX, seconds);
        let counts: Vec<(f64, u64)> = buckets
            .iter()
            .map(|bucket| (bound(bucket), bucket.count))
            .collect();
        let count = buckets.iter().map(|bucket| bucket.count).sum();
        let unit = Some(&Unit::Seconds);
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        family.encode_histogram::<NoLabels>(seconds(total_us), count, &counts, None)
    }

    /// Bounds are powers of two, in seconds. The sum of ages is not kept: each counts as its bound.
    pub(super) fn eviction_ages(&mut self, caches: &[CacheNumbers]) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let help = "How long entries had been held that were pushed out, and as their sum an upper bound of it";
        let mut family =
            self.0
                .encode_descriptor("cache_eviction_age", help, unit, MetricType::Histogram)?;
        for cache in caches {
            let ages = &cache.stats.age_at_eviction_s;
            let bound = |index: usize| match index + 1 < ages.len() {
                true => f64::from(1_u32 << index),
                false => f64::MAX,
            };
            let counts: Vec<(f64, u64)> = ages
                .iter()
                .enumerate()
                .map(|(index, count)| (bound(index), *count))
                .collect();
            // Far below 2^52, where f64 is exact.
            #[allow(clippy::cast_precision_loss)]
            let sum = ages
                .iter()
                .enumerate()
                .map(|(index, count)| f64::from(1_u32 << index) * *count as f64)
                .sum();
            family
                .encode_family(&[("cache", cache.name)])?
                .encode_histogram::<NoLabels>(sum, cache.stats.evictions, &counts, None)?;
        }
        Ok(())
    }

    /// Estimated hit ratios, a sample for each size.
    pub(super) fn estimates(
        &mut self,
        name: &str,
        help: &str,
        caches: &[CacheNumbers],
        ratio: fn(&CurvePoint) -> f64,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for cache in caches {
            for point in cache.curve.iter().flat_map(|curve| &curve.points) {
                let size = point.capacity.to_string();
                let labels = [("cache", cache.name), ("size", size.as_str())];
                ConstGauge::new(ratio(point)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    pub(in crate::observe::status) fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: u64,
    ) -> fmt::Result {
        self.counters(name, help, None, &[(Vec::new(), value)])
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, None, &[(Vec::new(), value)])
    }
}

/// The label set of a metric without labels.
#[derive(Debug)]
struct NoLabels;

impl EncodeLabelSet for NoLabels {
    fn encode(&self, _: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> fmt::Result {
        Ok(())
    }
}
