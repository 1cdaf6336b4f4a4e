#!/usr/bin/env node
// Prisma's schema engine is a binary that Prisma downloads. Here it is the same engine, as a
// package has it in WebAssembly: it speaks to Prisma as the binary does, which starts it by
// PRISMA_SCHEMA_ENGINE_BINARY, and to the database through Prisma's adapter.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(import.meta.url);
const { Result } = require('pg');
const { PrismaPg } = require('@prisma/adapter-pg');
const { bindMigrationAwareSqlAdapterFactory } = require('@prisma/driver-adapter-utils');

// The adapter does not know the catalogs' type "char".
const { addFields } = Result.prototype;
Result.prototype.addFields = function (fields) {
    for (const field of fields) if (field.dataTypeID === 18) field.dataTypeID = 25;
    return addFields.call(this, fields);
};

const connections = [];
class Factory extends PrismaPg {
    constructor(settings) {
        super(settings);
        this.settings = settings;
    }

    // The adapter would divide a script at each semicolon; the binary sends it as it is.
    async connect() {
        const connection = await super.connect();
        connections.push(connection);
        connection.executeScript = async (script) => {
            await connection.underlyingDriver().query(script).catch((error) => connection.onError(error));
        };
        return connection;
    }

    // The adapter would drop the database before it has left it.
    async connectToShadowDb() {
        const database = `prisma_migrate_shadow_db_${randomUUID()}`;
        const main = await this.connect();
        await main.executeScript(`CREATE DATABASE "${database}"`);
        const shadow = await new Factory({ ...this.settings, database }).connect();
        const leave = shadow.dispose.bind(shadow);
        shadow.dispose = async () => {
            await leave();
            await main.executeScript(`DROP DATABASE "${database}" WITH (FORCE)`);
            await main.dispose();
        };
        return shadow;
    }
}

globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (message) => console.error(message) };
const bindings = await import(require.resolve('@prisma/schema-engine-wasm/schema_engine_bg'));
const wasm = readFileSync(require.resolve('@prisma/schema-engine-wasm').replace(/\.js$/, '_bg.wasm'));
const { instance } = await WebAssembly.instantiate(wasm, { './schema_engine_bg.js': bindings });
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

const given = (option) => process.argv.flatMap((word, i) => (process.argv[i - 1] === option ? [word] : []));
const url = new URL(JSON.parse(given('--datasource')[0]).url);
const factory = new Factory({ host: url.hostname, port: Number(url.port), user: url.username, database: url.pathname.slice(1) });
const datamodels = given('--datamodels').map((file) => [file, readFileSync(file, 'utf8')]);
const start = () => bindings.SchemaEngine.new(
    { datamodels: datamodels.length > 0 ? datamodels : undefined }, () => {}, bindMigrationAwareSqlAdapterFactory(factory));

// Asked whether there is the database, by command line: there is.
if (process.argv.includes('cli')) process.exit(0);

const say = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');
for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line);
    if (!method) continue;
    try {
        // An engine for each request, since it makes shadows for one only, and for some of them
        // only after this.
        const engine = await start();
        if (params?.migrationsList && params.schema)
            await engine.devDiagnostic({ migrationsList: params.migrationsList, filters: params.filters });
        const result = await engine[method === 'getDatabaseVersion' ? 'version' : method](params);
        if (result?.stdout) say({ id: 0, method: 'print', params: { content: result.stdout } });
        say({ id, result: result ?? {} });
    } catch ({ message, code }) {
        say({ id, error: { code: 4466, message, data: { is_panic: false, message, error_code: code } } });
    }
    await Promise.allSettled(connections.splice(0).map((connection) => connection.dispose()));
}
process.exit(0);
