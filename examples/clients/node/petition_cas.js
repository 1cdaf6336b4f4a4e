// petition_cas for Node, on pg.
//
// assign, swap, swapMany and claim work on a client of yours, in its
// transaction, and repeat nothing. What is lost rejects with a FateError, after
// which the transaction is aborted, unless the call was behind a SAVEPOINT. Only
// decide() has a transaction of its own, and runs it again where that is safe.
//
// A relation is a name such as "orders" or "shop.orders", as it is spelled in the
// catalog; a key any value, or an array or an object for a key of several columns.
'use strict';

const { randomUUID } = require('crypto');
const { setTimeout: sleep } = require('timers/promises');

/**
 * @typedef {object} Queryable a Client, or one that a Pool has lent
 * @property {(text: string, values: any[]) => Promise<{rows: any[]}>} query
 *
 * @typedef {object} Options what may be given with a transition
 * @property {Object<string, any>} [changes] other columns to set; not for petitions
 * @property {string} [reason]
 * @property {string} [seenHash] of the evidence; not for many rows
 * @property {string} [requestId]
 * @property {string} [stateColumn] not for petitions
 *
 * @typedef {{key: string, outcome: string, current_state: string | null}} Outcome
 * @typedef {{ids: string[], hash: string}} Roster
 * @typedef {Roster & {added: string[], removed: string[]}} Claim
 */

/** What a loser is told: the DETAIL, whose members that do not apply are left out. */
class FateError extends Error {
  /** @param {any} cause an error of pg */
  constructor(cause) {
    super(cause.message, { cause });
    this.name = this.constructor.name;
    /** @type {string} */ this.sqlstate = cause.code;
    /** @type {string | undefined} */ this.hint = cause.hint;
    const detail = JSON.parse(cause.detail);
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
  /** @param {any} cause an error of pg */
  constructor(cause) {
    super(cause);
    /** @type {string[]} at most the first 100 */ this.added = this.detail.added;
    /** @type {string[]} at most the first 100 */ this.removed = this.detail.removed;
    /** @type {number} */ this.addedCount = this.detail.added_count;
    /** @type {number} */ this.removedCount = this.detail.removed_count;
    /** @type {string} */ this.rosterHash = this.detail.roster_hash;
  }
}

/** @type {Object<string, typeof FateError>} */
const errors = {
  PF001: ConcurrentModification, PF002: AlreadyFated, PF003: InvalidTransition,
  PF004: NotFound, PF005: RosterChanged, PF007: EvidenceChanged,
};

/**
 * Runs a call; an error of pg that is one of petition_cas becomes a FateError.
 * @param {Queryable} client @param {string} text @param {any[]} values @returns {Promise<any[]>}
 */
async function run(client, text, values) {
  try {
    return (await client.query(text, values)).rows;
  } catch (/** @type {any} */ error) {
    throw error.detail && Object.hasOwn(errors, error.code) ? new errors[error.code](error) : error;
  }
}

/** @param {string} relation */
const nameOf = (relation) => relation.split('.').map((part) => `"${part.replaceAll('"', '""')}"`).join('.');

/** @param {any} key */
const keyOf = (key) => (typeof key === 'object' ? JSON.stringify(key) : String(key));

/** @param {Object<string, any>} [changes] */
const changesOf = (changes) => (changes === undefined ? null : JSON.stringify(changes));

/**
 * Assigns a petition's fate; resolves to its row.
 * @param {Queryable} client @param {string} submissionId @param {string} expectedState @param {string} newState
 * @param {Options} [options]
 */
async function assign(client, submissionId, expectedState, newState, { reason, seenHash, requestId } = {}) {
  return (await run(client, 'SELECT * FROM assign_fate($1, $2, $3, $4, $5, $6)',
    [submissionId, expectedState, newState, reason, seenHash, requestId]))[0];
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
    [keys.map(keyOf), expectedState, newState, changesOf(changes), reason, requestId, stateColumn]);
}

/**
 * Locks the rows that a filter selects until the transaction ends, if they are those that were seen.
 * @param {Queryable} client @param {string} source @param {string} filter @param {Roster} seen
 * @param {{scope?: string, confirmed?: boolean, keyColumn?: string}} [options] @returns {Promise<Claim>}
 */
async function claim(client, source, filter, seen, { scope, confirmed = false, keyColumn = 'id' } = {}) {
  return (await run(client, 'SELECT resolved_ids AS ids, roster_hash AS hash, added, removed FROM claim_roster('
      + '$1, $2, $3::text[], $4, scope => $5, confirmed => $6, key_column => $7)',
    [source, filter, seen.ids, seen.hash, scope, confirmed, keyColumn]))[0];
}

/**
 * Whether a transaction that ended so may be run again: class 40, 08 or 57P, or a connection that was lost or refused,
 * for which pg has the system's codes or none.
 * @param {any} error
 */
function mayRepeat(error) {
  return /^(40...|08...|57P..|ECONN\w+|EPIPE|ETIMEDOUT)$/.test(error.code ?? '') || /^Connection terminated/.test(error.message);
}

const attempts = 5;

/**
 * Decides a row in a transaction of its own, on clients from connect(), which it ends; resolves to the row. After class 40
 * and after a connection that was lost it runs again: if the first one had committed, the request id tells the server that
 * it is the same decision.
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
