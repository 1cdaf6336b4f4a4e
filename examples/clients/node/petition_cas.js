// petition_cas for Node, on pg.
//
// assign, swap, swapMany and claim work on a client of yours, in its
// transaction, and repeat nothing. What is lost rejects with a FateError, after
// which the transaction is aborted, unless the call was behind a SAVEPOINT. Only
// decide() has a transaction of its own, and runs it again where that is safe.
//
// A relation is a name such as "orders" or "shop.orders", as it is spelled in the
// catalog; a key a value, or an array or an object for a key of several columns. README.md
// tells as what each type of value is sent; a TypeError or RangeError refuses the others,
// before anything is sent.
'use strict';

const { randomUUID } = require('crypto');
const { setTimeout: sleep } = require('timers/promises');
const { isDate, isUint8Array } = require('util').types;

/**
 * @typedef {object} Queryable a Client, or one that a Pool has lent
 * @property {(text: string, values: any[]) => Promise<{rows: any[]}>} query
 *
 * @typedef {object} Options what may be given with a transition
 * @property {Object<string, any> | null} [changes] other columns to set; not for petitions
 * @property {string} [reason]
 * @property {string} [seenHash] of the evidence; not for many rows
 * @property {string} [requestId]
 * @property {string} [stateColumn] not for petitions
 *
 * @typedef {{key: string, outcome: string, current_state: string | null}} Outcome
 * @typedef {{ids: any[] | null, hash: string | null}} Roster
 * @typedef {{ids: string[], hash: string, added: string[] | null, removed: string[] | null}} Claim
 */

/** What a loser is told: the DETAIL, whose members that do not apply are left out. */
class FateError extends Error {
  /** @param {any} cause an error of pg @param {Object<string, any>} detail */
  constructor(cause, detail) {
    super(cause.message, { cause });
    this.name = this.constructor.name;
    /** @type {string} */ this.sqlstate = cause.code;
    /** @type {string | undefined} */ this.hint = cause.hint;
    /** @type {Object<string, any>} */ this.detail = detail;
    /** @type {string | undefined} */ this.submissionId = detail.submission_id;
    /** @type {string | undefined} */ this.relation = detail.relation;
    /** @type {string | undefined} */ this.key = detail.key;
    /** @type {string | null | undefined} */ this.expectedState = detail.expected_state;
    /** @type {string | null | undefined} */ this.currentState = detail.current_state;
    /** @type {string | null | undefined} */ this.newState = detail.new_state;
    /** @type {string[] | undefined} */ this.allowed = detail.allowed;
    /** @type {string | undefined} */ this.assignedAt = detail.assigned_at;
    /** @type {string | undefined} */ this.assignedBy = detail.assigned_by;
    /** @type {string | undefined} */ this.reason = detail.reason;
    /** @type {string | undefined} */ this.requestId = detail.request_id;
    /** @type {string | undefined} */ this.evidenceHash = detail.evidence_hash;
  }
}

class ConcurrentModification extends FateError {}
class AlreadyFated extends FateError {}
class InvalidTransition extends FateError {}
class NotFound extends FateError {}
class EvidenceChanged extends FateError {}

class RosterChanged extends FateError {
  /** @param {any} cause an error of pg @param {Object<string, any>} detail */
  constructor(cause, detail) {
    super(cause, detail);
    /** @type {string[] | null} at most the first 100; null if no ids were seen */ this.added = detail.added;
    /** @type {string[] | null} at most the first 100 */ this.removed = detail.removed;
    /** @type {number | null} */ this.addedCount = detail.added_count;
    /** @type {number | null} */ this.removedCount = detail.removed_count;
    /** @type {string} */ this.rosterHash = detail.roster_hash;
  }
}

/** @type {Object<string, typeof FateError>} */
const errors = {
  PF001: ConcurrentModification, PF002: AlreadyFated, PF003: InvalidTransition,
  PF004: NotFound, PF005: RosterChanged, PF007: EvidenceChanged,
};

/** The members of the DETAIL; undefined if it is no JSON object, as of an error that somebody else raised. @param {any} text */
function detailOf(text) {
  try {
    const detail = JSON.parse(text);
    return typeof detail === 'object' && detail !== null && !Array.isArray(detail) ? detail : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Runs a call; an error of pg that is one of petition_cas becomes a FateError.
 * @param {Queryable} client @param {string} text @param {any[]} values @returns {Promise<any[]>}
 */
async function run(client, text, values) {
  try {
    return (await client.query(text, values)).rows;
  } catch (/** @type {any} */ error) {
    const detail = Object.hasOwn(errors, error.code) ? detailOf(error.detail) : undefined;
    throw detail ? new errors[error.code](error, detail) : error;
  }
}

/** @param {any} value */
const typeOf = (value) => (typeof value === 'object' ? value?.constructor?.name ?? String(value) : typeof value);

/** @param {string} relation */
function nameOf(relation) {
  const parts = typeof relation === 'string' ? relation.split('.') : [''];
  // The server would cut a longer name off, which may be another table's.
  if (parts.some((part) => !part || part.includes('\0') || Buffer.byteLength(part) > 63 || /\p{Surrogate}/u.test(part))) {
    throw new RangeError(`no name of a relation: ${JSON.stringify(relation)}`);
  }
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
}

/**
 * A Date as the time here with its offset, as pg sends it: so a date, a timestamp and a timestamptz that pg has read are
 * the same again.
 * @param {Date} date
 */
function dateText(date) {
  const local = new Date(0);
  local.setUTCFullYear(date.getFullYear(), date.getMonth(), date.getDate());
  local.setUTCHours(date.getHours(), date.getMinutes(), date.getSeconds(), date.getMilliseconds());
  const offset = local.getTime() - date.getTime();
  return local.toISOString().replace('Z', offset < 0 ? '-' : '+') + new Date(Math.abs(offset)).toISOString().slice(11, 19).replace(/:00$/, '');
}

/** The text form of a value, which the input functions of the types that it is for read under any setting. @param {any} value */
function textOf(value) {
  if (typeof value === 'string') {
    if (/\p{Surrogate}/u.test(value)) throw new RangeError('a string with half a surrogate pair is no text');
    return value;
  }
  if (['number', 'bigint', 'boolean'].includes(typeof value)) return String(value);
  if (isUint8Array(value)) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  if (isDate(value)) return dateText(value);
  throw new TypeError(`a value of type ${typeOf(value)} has no certain text form here: give it as text`);
}

/** Whether it is an object of names with values, and of no class. @param {any} value */
function isPlain(value) {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'));
}

/** @param {any} value */
function keyTextOf(value) {
  if (typeof value === 'number' && !(Math.abs(value) < 2 ** 53)) {
    throw new RangeError(`the number ${value} is not exact as a key: give it as a BigInt or as text`);
  }
  return value === null || value === undefined ? null : textOf(value);
}

/** @param {any} key @returns {string | null} */
function keyOf(key) {
  if (Array.isArray(key)) return JSON.stringify(Array.from(key, keyTextOf));
  if (!isPlain(key)) return keyTextOf(key);
  return JSON.stringify(Object.fromEntries(Object.entries(key).map(([name, value]) => [textOf(name), keyTextOf(value)])));
}

/** @param {any} keys @returns {(string | null)[] | null} */
function keysOf(keys) {
  if (keys === null || keys === undefined) return null;
  if (!Array.isArray(keys)) throw new TypeError(`a value of type ${typeOf(keys)} is no set of keys`);
  return Array.from(keys, keyOf);
}

/**
 * The JSON of a value of changes; what JSON has no type for is a string of its text form.
 * @param {any} value @returns {string}
 */
function jsonOf(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${Array.from(value, jsonOf).join()}]`;
  if (isPlain(value)) {
    return `{${Object.entries(value).map(([name, member]) => `${JSON.stringify(textOf(name))}:${jsonOf(member)}`).join()}}`;
  }
  const text = textOf(value);
  return ['bigint', 'boolean'].includes(typeof value) || Number.isFinite(value) ? text : JSON.stringify(text);
}

/** @param {any} changes */
function changesOf(changes) {
  if (changes === null || changes === undefined) return null;
  if (!isPlain(changes)) throw new TypeError(`a value of type ${typeOf(changes)} is no changes: give names with values`);
  return jsonOf(changes);
}

/**
 * Assigns a petition's fate; resolves to its row.
 * @param {Queryable} client @param {string} submissionId @param {string} expectedState @param {string} newState
 * @param {Options} [options]
 */
async function assign(client, submissionId, expectedState, newState, { reason, seenHash, requestId } = {}) {
  return (await run(client, 'SELECT * FROM assign_fate($1, $2, $3, $4, $5, $6)',
    [keyTextOf(submissionId), expectedState, newState, reason, seenHash, requestId]))[0];
}

/**
 * Moves a row of a governed table; resolves to the row.
 * @param {Queryable} client @param {string} relation @param {any} key @param {string} expectedState
 * @param {string} newState @param {Options} [options]
 */
async function swap(client, relation, key, expectedState, newState, options = {}) {
  const { changes, reason, seenHash, requestId, stateColumn } = options;
  return (await run(client, `SELECT * FROM compare_and_swap(null::${nameOf(relation)}, $1::text, $2, $3, $4, $5, $6, $7, $8)`,
    [keyOf(key), expectedState, newState, changesOf(changes), reason, seenHash, requestId, stateColumn]))[0];
}

/**
 * Moves many rows in one statement; resolves to what became of each, in the order given.
 * @param {Queryable} client @param {string} relation @param {any[]} keys @param {string} expectedState
 * @param {string} newState @param {Options} [options] @returns {Promise<Outcome[]>}
 */
async function swapMany(client, relation, keys, expectedState, newState, { changes, reason, requestId, stateColumn } = {}) {
  return run(client, `SELECT * FROM compare_and_swap_many(null::${nameOf(relation)}, $1::text[], $2, $3, $4, $5, $6, $7)`,
    [keysOf(keys), expectedState, newState, changesOf(changes), reason, requestId, stateColumn]);
}

/**
 * Locks the rows that a filter selects until the transaction ends, if they are those that were seen.
 * @param {Queryable} client @param {string} source @param {string} filter @param {Roster} seen
 * @param {{scope?: string, confirmed?: boolean, keyColumn?: string}} [options] @returns {Promise<Claim>}
 */
async function claim(client, source, filter, seen, { scope, confirmed = false, keyColumn = 'id' } = {}) {
  return (await run(client, 'SELECT resolved_ids AS ids, roster_hash AS hash, added, removed FROM claim_roster('
      + '$1, $2, $3::text[], $4, scope => $5, confirmed => $6, key_column => $7)',
    [nameOf(source), filter, keysOf(seen.ids), seen.hash, scope, confirmed, keyColumn]))[0];
}

/**
 * Whether a transaction that ended so may be run again: class 40, 08 or 57P, or a connection that was lost or refused,
 * for which pg has the system's codes or none; it says that a client is "not queryable" when its connection was lost
 * before the query.
 * @param {any} error
 */
function mayRepeat(error) {
  return /^(40...|08...|57P..|ECONN\w+|EPIPE|ETIMEDOUT)$/.test(error.code ?? '')
    || /^(Connection terminated|Client has encountered a connection error|timeout expired$)/.test(error.message);
}

const attempts = 5;

/**
 * Decides a row in a transaction of its own, on clients from connect(), which it ends; resolves to the row. After class 40
 * and after a connection that was lost it runs again: if the first one had committed, the request id tells the server that
 * it is the same decision. Request ids are recorded with fates alone, so newState has to be a fate, or the table to have a
 * history: else the server refuses the call (22023).
 * @param {() => Promise<any>} connect resolves to a connected Client
 * @param {string} relation @param {any} key @param {string} expectedState @param {string} newState @param {Options} [options]
 */
async function decide(connect, relation, key, expectedState, newState, options = {}) {
  const requestId = options.requestId ?? randomUUID();
  for (let attempt = 1; ; attempt++) {
    let client;
    try {
      client = await connect();
      client.on('error', () => {}); // a connection that is lost is told by the query, too
      return await swap(client, relation, key, expectedState, newState, { ...options, requestId });
    } catch (error) {
      if (attempt === attempts || !mayRepeat(error)) throw error;
    } finally {
      await client?.end().catch(() => {});
    }
    await sleep(50 * 2 ** attempt);
  }
}

module.exports = {
  FateError, ConcurrentModification, AlreadyFated, InvalidTransition, NotFound, EvidenceChanged, RosterChanged,
  assign, swap, swapMany, claim, decide, mayRepeat,
};
