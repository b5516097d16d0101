"""Reads an OTLP request from its input, and prints every data point as JSON: floats by their bits."""

import json
import struct
import sys

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def optional(point, field):
    return bits(getattr(point, field)) if point.HasField(field) else None


def buckets(point, field):
    if not point.HasField(field):
        return None
    run = getattr(point, field)
    return [run.offset, list(run.bucket_counts)]


def exemplars(point):
    told = []
    for exemplar in point.exemplars:
        attributes = [[pair.key, pair.value.string_value] for pair in exemplar.filtered_attributes]
        of = exemplar.WhichOneof("value")
        number = exemplar.as_int if of == "as_int" else bits(exemplar.as_double)
        ids = [exemplar.span_id.hex(), exemplar.trace_id.hex()]
        told.append([attributes, exemplar.time_unix_nano, of, number, ids])
    return told


def values(kind, data, point):
    if kind in ("gauge", "sum"):
        of = point.WhichOneof("value")
        number = point.as_int if of == "as_int" else bits(point.as_double)
        if kind == "gauge":
            return [of, number]
        return [data.aggregation_temporality, data.is_monotonic, of, number, exemplars(point)]
    if kind == "histogram":
        return [
            data.aggregation_temporality,
            point.count,
            optional(point, "sum"),
            list(point.bucket_counts),
            [bits(bound) for bound in point.explicit_bounds],
            optional(point, "min"),
            optional(point, "max"),
            exemplars(point),
        ]
    if kind == "exponential_histogram":
        return [
            data.aggregation_temporality,
            point.count,
            optional(point, "sum"),
            point.scale,
            point.zero_count,
            bits(point.zero_threshold),
            buckets(point, "positive"),
            buckets(point, "negative"),
            optional(point, "min"),
            optional(point, "max"),
            exemplars(point),
        ]
    quantiles = [[bits(q.quantile), bits(q.value)] for q in point.quantile_values]
    return [point.count, bits(point.sum), quantiles]


request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(sys.stdin.buffer.read())
points = []
for of_resource in request.resource_metrics:
    for of_scope in of_resource.scope_metrics:
        for metric in of_scope.metrics:
            kind = metric.WhichOneof("data")
            data = getattr(metric, kind)
            for point in data.data_points:
                attributes = [[pair.key, pair.value.string_value] for pair in point.attributes]
                times = [point.start_time_unix_nano, point.time_unix_nano]
                head = [metric.name, metric.unit, metric.description, attributes, kind, times]
                points.append(head + [values(kind, data, point)])
json.dump(points, sys.stdout)
