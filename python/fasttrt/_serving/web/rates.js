// Rates and percentiles, from the sums that the server tells at different times.
"use strict";

const WINDOW_SECONDS = 10;
const CHART_SECONDS = 300;
const PERCENTILES = [0.5, 0.9, 0.99];

// The value that this share of all is not above; null if there is none.
function percentile(bounds, counts, share) {
  const rank = share * counts.reduce((sum, count) => sum + count, 0);
  if (rank === 0) return null;
  let below = 0;
  for (let i = 0; i < bounds.length; ++i) {
    below += counts[i];
    if (below >= rank && counts[i] > 0) {
      const low = i > 0 ? bounds[i - 1] : 0;
      return low + (bounds[i] - low) * (rank - (below - counts[i])) / counts[i];
    }
  }
  return bounds[bounds.length - 1];
}

const keyOf = (model) => JSON.stringify([model.name, model.version]);
const sumOf = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

// The last states of a server, and what followed from them for the charts.
class History {
  constructor() {
    this.states = [];
    this.points = new Map();  // by model or GPU
  }

  add(state) {
    const last = this.states.at(-1);
    if (last && last.started !== state.started) {
      this.states = [];
      this.points.clear();
    }
    this.states.push(state);
    const oldest = state.uptime_seconds - WINDOW_SECONDS - 0.5;
    while (this.states.length > 2 && this.states[0].uptime_seconds < oldest) this.states.shift();
  }

  // What a model does now; null if it is not loaded.
  rates(model) {
    if (model.requests === undefined) return null;
    const now = this.states.at(-1);
    const before = this.states.at(-2) ?? now;
    const last = this.earlier(before, model);
    const first = this.earlier(this.states[0], model);
    const seconds = now.uptime_seconds - before.uptime_seconds;
    const rate = (read) => seconds > 0 ? (read(model) - (last ? read(last) : 0)) / seconds : null;
    const sizes = Object.entries(model.batch_sizes)
      .map(([size, runs]) => [Number(size), runs - (first?.batch_sizes?.[size] ?? 0)])
      .filter(([, runs]) => runs > 0)
      .sort(([a], [b]) => a - b);
    const latency = model.latency.map((count, i) => count - (first?.latency?.[i] ?? 0));
    const runs = sizes.reduce((sum, [, count]) => sum + count, 0);
    return {
      requests: rate((sums) => sums.requests ?? 0),
      rows: rate((sums) => sums.rows ?? 0),
      failures: rate((sums) => sumOf(sums.failures ?? {})),
      sizes,
      meanBatch: runs ? sizes.reduce((sum, [size, count]) => sum + size * count, 0) / runs : null,
      milliseconds: PERCENTILES.map((share) => {
        const microseconds = percentile(now.latency_bounds_us, latency, share);
        return microseconds === null ? null : microseconds / 1000;
      }),
    };
  }

  // A model's sums in an earlier state; null if it was loaded again since then.
  earlier(state, model) {
    const found = state.models.find((other) => keyOf(other) === keyOf(model));
    if (!found) return null;
    const isOlder = (found.requests ?? 0) <= model.requests && (found.executions ?? 0) <= model.executions;
    return isOlder ? found : null;
  }

  // Adds values to what a chart shows, and returns all of them: [time, value, ...].
  chart(key, values) {
    const now = this.states.at(-1).uptime_seconds;
    const points = (this.points.get(key) ?? []).filter(([time]) => time > now - CHART_SECONDS);
    points.push([now, ...values]);
    this.points.set(key, points);
    return points;
  }
}
