/** Where everything is put together: the only file that names adapters. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadCore } from '../core/index.ts';
import packageFile from '../package.json' with { type: 'json' };
import { announce } from './announce.ts';
import { type Control, startControl } from './api/control.ts';
import type { ListenAt } from './api/listener.ts';
import { openApiDocument } from './api/openapi.ts';
import { type Api, startApi } from './api/server.ts';
import { ownAuthority, readOwnCertificate } from './api/tls.ts';
import { AuditLog } from './audit/index.ts';
import { CONTROL_SOCKET, type Command, run } from './cli/index.ts';
import type { Listen } from './config/listen.ts';
import { type Config, loadConfig, SERVER_USAGE } from './config.ts';
import { mariadb, mysql } from './databases/mysql/adapter.ts';
import { postgresql } from './databases/postgresql/adapter.ts';
import { diagnose } from './diagnose.ts';
import { certificateMaker } from './engines/database/certificate.ts';
import { databaseEngine } from './engines/database/engine.ts';
import { Fault, isFault } from './fault.ts';
import { networkCheck } from './networks.ts';
import type { InitResult } from './ports/appliance.ts';
import type { CounterDevice } from './ports/counter.ts';
import type { Environment } from './ports/environment.ts';
import type { LockoutDevice } from './ports/lockout.ts';
import type { SealSlot } from './ports/seal-slot.ts';
import type { Store } from './ports/store.ts';
import { Box } from './seal/appliance.ts';
import { Counters } from './seal/counters.ts';
import { Freshness } from './seal/freshness.ts';
import { KeyfileSlot } from './seal/keyfile/keyfile.ts';
import { boxLog } from './seal/log.ts';
import { storedPinMark } from './seal/pin.ts';
import { Pkcs11CounterDevice } from './seal/pkcs11/counter.ts';
import { type Pkcs11Options, Pkcs11Slot } from './seal/pkcs11/pkcs11.ts';
import { TokenUse } from './seal/pkcs11/use.ts';
import { ShamirSlot } from './seal/shamir/shamir.ts';
import { TpmCounterDevice } from './seal/tpm2/counter-device.ts';
import { TpmLockout } from './seal/tpm2/lockout.ts';
import { readPolicies, readSigner } from './seal/tpm2/policy-files.ts';
import { TpmSlot } from './seal/tpm2/slot.ts';
import { kernelOwns, Tss } from './seal/tpm2/tss.ts';
import { pcrMask } from './seal/tpm2/wire.ts';
import { metrics } from './server.ts';
import { buildServices } from './services.ts';
import { openLmdbStore } from './store/lmdb/open.ts';
import { dateOf, systemClock } from './system/clock.ts';
import { cronSchedules } from './system/cron.ts';
import { files } from './system/files.ts';
import { makeFolder } from './system/folder.ts';
import { lockIntrinsics } from './system/intrinsics.ts';
import { LeaseClock } from './system/lease-time.ts';
import { lockFolder } from './system/lock.ts';
import { logFiles } from './system/log-files.ts';
import { machineFacts } from './system/machine.ts';
import { readIfThere, removePrivateFile, writePrivateFile } from './system/private-file.ts';
import { hardenProcess } from './system/process.ts';
import { systemRandom } from './system/random.ts';
import { onBrokenPipe, onBug, onStopSignal } from './system/signals.ts';
import { terminalEnvironment } from './system/terminal.ts';
import { systemRefusal } from './system/trouble.ts';
import { verifyStopped } from './verify-stopped.ts';

/** What this program calls itself to clients: a version as they can read it. */
const VERSION = packageFile.version;
/** No job holds a row that it has sealed and not committed for longer. */
const ROTATION_SETTLE_MS = 60_000;
/** Before this the wall clock is wrong: the day of the build. */
const BUILT_MS = Date.UTC(2026, 10, 1);

const wasmFile = (): Uint8Array => readFileSync(new URL('core.wasm', import.meta.url));

interface Shown {
  readonly rootTokenFile: string;
  readonly recoveryShareFile: string;
  recoveryShare: string | undefined;
}

/**
 * Keeps what a new box hands out in files. The share's file goes when a terminal has shown it: a start that fails between
 * the two (the port is taken) would lose the only share there is.
 */
function deliver(shown: Shown, interactive: boolean) {
  return async ({ shares, rootToken }: InitResult): Promise<void> => {
    writePrivateFile(shown.rootTokenFile, `${Buffer.from(rootToken.bytes).toString('latin1')}\n`);
    const share = Buffer.from(shares[0]?.bytes ?? []).toString('base64');
    writePrivateFile(shown.recoveryShareFile, `${share}\n`);
    if (interactive) shown.recoveryShare = share;
  };
}

/** What may open the box, in the order in which it is tried (hardware first), and what may count for it. */
interface Devices {
  readonly slots: readonly SealSlot[];
  readonly counters: readonly CounterDevice[];
  readonly lockout?: LockoutDevice;
}

/**
 * As the settings name them. None is touched before it is used: a box without a TPM needs no libtss2, one without an HSM no
 * pkcs11js.
 */
function devicesOf(config: Config, store: Pick<Store, 'get' | 'commit'>, variables: Environment['variables']): Devices {
  const slots: SealSlot[] = [];
  const counters: CounterDevice[] = [];
  let lockout: LockoutDevice | undefined;
  if (config['seal.allowed'].includes('tpm2')) {
    const clock = systemClock();
    const tss = new Tss({ tcti: config['seal.tpm2.tcti'], clock, timeoutMs: config['seal.tpm2.timeoutMs'] });
    slots.push(tpmSlot(tss, config, store));
    counters.push(new TpmCounterDevice(tss));
    lockout = new TpmLockout(tss);
  }
  if (config['seal.pkcs11.module'] !== '') {
    const options = pkcs11Options(config, store, variables);
    const token = new TokenUse(options);
    slots.push(new Pkcs11Slot(options, token));
    counters.push(new Pkcs11CounterDevice(token, systemRandom));
  }
  slots.push(new KeyfileSlot({ path: join(config.config, 'keyfile'), random: systemRandom, files }));
  return { slots, counters, ...(lockout === undefined ? {} : { lockout }) };
}

function pkcs11Options(
  config: Config,
  store: Pick<Store, 'get' | 'commit'>,
  variables: Environment['variables'],
): Pkcs11Options {
  const pinFile = config['seal.pkcs11.pinFile'];
  return {
    ...{ clock: systemClock(), random: systemRandom, environment: variables },
    program: fileURLToPath(new URL('pkcs11-child.mjs', import.meta.url)),
    deadlineMs: config['seal.pkcs11.timeoutMs'],
    generateDeadlineMs: config['seal.pkcs11.generateTimeoutMs'],
    module: config['seal.pkcs11.module'],
    parameters: config['seal.pkcs11.parameters'],
    token: config['seal.pkcs11.token'],
    pinFile: pinFile === '' ? undefined : pinFile,
    mark: storedPinMark(store, 'pkcs11'),
  };
}

function tpmSlot(tss: Tss, config: Config, store: Pick<Store, 'get' | 'commit'>): TpmSlot {
  const signerFile = config['seal.tpm2.signerFile'];
  const pinFile = config['seal.tpm2.pinFile'];
  const signed = {
    get point() {
      return readSigner(signerFile);
    },
    index: Number(config['seal.tpm2.versionIndex']),
    policies: () => readPolicies(config['seal.tpm2.policyFolder']),
  };
  return new TpmSlot({
    tss,
    random: systemRandom,
    pcrs: pcrMask(config['seal.tpm2.pcrs']),
    shutdown: !kernelOwns(config['seal.tpm2.tcti']),
    ...(pinFile === '' ? {} : { pinFile: { path: pinFile, mark: storedPinMark(store, 'tpm2') } }),
    ...(signerFile === '' ? {} : { signed }),
  });
}

async function listenersOf(config: Config): Promise<ListenAt[]> {
  const tcp = config.listen.some((one) => one.kind === 'tcp');
  const pair =
    config['tls.mode'] === 'off' || !tcp
      ? undefined
      : config['tls.certificateFile'] !== ''
        ? readOwnCertificate(config['tls.certificateFile'], config['tls.keyFile'])
        : await ownAuthority({
            folder: config.config,
            names: namesOf(config.listen),
            nowMs: systemClock().wallMs(),
            date: dateOf,
            randomBytes: (length) => systemRandom.bytes(length),
            parseMs: (text) => Date.parse(text),
          });
  const tls = pair === undefined ? {} : { tls: { key: pair.keyPem, cert: pair.certificatePem } };
  return config.listen.map((one) => (one.kind === 'unix' ? one : { ...one, ...tls }));
}

function namesOf(listen: readonly Listen[]): string[] {
  const hosts = listen.flatMap((one) =>
    one.kind === 'tcp' && one.host !== '0.0.0.0' && one.host !== '::' ? [one.host] : [],
  );
  return [...new Set(['localhost', '127.0.0.1', '::1', ...hosts])];
}

async function serve(args: readonly string[], environment: Environment): Promise<number | undefined> {
  if (args.some((arg) => /^--?h(elp)?$/.test(arg))) {
    environment.out(SERVER_USAGE);
    return 0;
  }
  const { config, initialise } = loadConfig({ args, variables: environment.variables, workingFolder: process.cwd() });
  onBug();
  const notes = hardenProcess({ coreDumps: config['debug.coreDumps'] });
  const lock = lockFolder(config.data);
  makeFolder(config.config);
  const clock = systemClock();
  const random = systemRandom;
  const core = loadCore({ wasm: wasmFile(), random: (length) => random.bytes(length) });
  lockIntrinsics();
  const lease = new LeaseClock({
    clock,
    trust: config['time.trust'],
    builtMs: BUILT_MS,
    synchronised: () => clock.synchronised(),
  });
  const freshness = new Freshness(core, lease);
  const store = await openLmdbStore({ lock, files, witness: freshness, mapBytes: config['store.mapBytes'] });
  const devices = devicesOf(config, store, environment.variables);
  const counters = new Counters({
    ...{ core, store, freshness, clock, lease },
    devices: devices.counters,
    intervalMs: config['freshness.intervalMs'],
  });
  const folder = join(config.data, 'audit');
  const audit = new AuditLog({
    ...{ folder, core, files: logFiles, clock, random },
    soon: (job) => setImmediate(job),
    sync: config['audit.sync'],
    intervalMs: config['audit.syncIntervalMs'],
  });
  const trouble = (sentence: string): void => environment.error(`holdfast: ${sentence}\n`);
  let api: Api | undefined;
  const services = buildServices({
    ...{ core, store, audit, clock, lease, random },
    counting: counters,
    held: () => box.heldBecause(),
    appliance: () => box,
    ceremonies: config['seal.ceremonies'] === 'on',
    metrics: (all) =>
      metrics({
        services: all,
        ...{ audit, appliance: box, api, counters: counters.status() },
        memoryBytes: process.memoryUsage.rss(),
        uptimeSeconds: Math.floor(process.uptime()),
      }),
    engines: (own) => [
      databaseEngine({
        ...own,
        adapters: [postgresql(own), mariadb(own), mysql(own)],
        schedules: cronSchedules,
        check: networkCheck(config['databases.networks']),
        passwords: (policy) => own.passwords.source(policy),
        certificate: certificateMaker({
          wallMs: () => own.clock.wallMs(),
          date: dateOf,
          randomBytes: (length) => own.random.bytes(length),
        }),
      }),
    ],
    openApi: ({ mounts, registry }) =>
      openApiDocument(
        VERSION,
        mounts.list().flatMap((mount) => {
          const engine = registry.engine(mount.coreType);
          return engine === undefined ? [] : [{ mount, engine }];
        }),
      ),
  });
  const keyfile = join(config.config, 'keyfile');
  const box: Box = new Box({
    ...{ core, store, freshness, counters, clock, lease, random },
    log: boxLog({ audit, folder, core, store, lease, trouble }),
    residents: services,
    allowed: config['seal.allowed'],
    shamir: (threshold, shares) => new ShamirSlot({ core, random, threshold, shares }),
    automatic: devices.slots,
    ...(devices.lockout === undefined ? {} : { lockout: devices.lockout }),
    initial: config['seal.initial'],
    machine: () => machineFacts(),
    heartbeatMs: config['freshness.heartbeatMs'],
    settleMs: Math.max(config['limits.requestTimeoutMs'], ROTATION_SETTLE_MS),
    reasons: () => [
      ...notes,
      ...audit.reasons,
      ...services.leases.reasons(),
      ...services.engines.flatMap((engine) => engine.reasons?.() ?? []),
    ],
  });
  const shown: Shown = {
    rootTokenFile: join(config.config, 'root-token'),
    recoveryShareFile: join(config.config, 'recovery-share'),
    recoveryShare: undefined,
  };
  if (initialise && !box.status().initialized) {
    await box.initialise({ shares: 1, threshold: 1, keyfile: true }, deliver(shown, environment.interactive));
  }
  await box.unsealAutomatically();
  api = await startApi({
    ...{ dispatcher: services.dispatch, appliance: box, clock, random, version: VERSION, buildDate: '' },
    listeners: await listenersOf(config),
    limits: {
      bodyBytes: config['limits.bodyBytesMax'],
      connections: config['limits.connectionCountMax'],
      inFlight: Math.min(config['limits.inFlightCountMax'], 900),
      headMs: config['limits.headersTimeoutMs'],
      requestMs: config['limits.requestTimeoutMs'],
      idleMs: config['limits.idleTimeoutMs'],
    },
  });
  const control = await controlOf(config, box, trouble);
  const running = api;
  // Before the word that it listens: who waits for that may end it at once, and in order.
  onStopSignal(async () => {
    await Promise.all([running.close(), control?.close()]);
    await box.stop();
    await store.close();
    lock.release();
    return 0;
  });
  // The command line of this user finds the box by it.
  writePrivateFile(join(config.config, 'address'), `${api.addresses[0] ?? ''}\n`);
  const status = box.status();
  const there = (path: string): string | undefined => (readIfThere(path) === undefined ? undefined : path);
  environment.out(
    announce({
      version: VERSION,
      addresses: api.addresses,
      data: config.data,
      config: config.config,
      keyfile,
      configIsDefault: config.config === defaultConfigFolder(environment),
      state: !status.initialized ? 'uninitialised' : status.sealed ? 'sealed' : 'open',
      openedBy: status.openedBy,
      weakest: box.weakestWayIn,
      ways: box.ways(),
      rootTokenFile: there(shown.rootTokenFile),
      recoveryShareFile: there(shown.recoveryShareFile),
      recoveryShare: shown.recoveryShare,
      secretMount: services.mounts.at('secret/')?.coreType === 'kv-v2',
      reasons: status.reasons,
    }),
  );
  if (shown.recoveryShare !== undefined) removePrivateFile(shown.recoveryShareFile);
  return undefined;
}

/** The socket for `unseal --slot` and `operator diagnose` of this user; the box serves without it. */
async function controlOf(config: Config, box: Box, trouble: (sentence: string) => void): Promise<Control | undefined> {
  const path = join(config.config, CONTROL_SOCKET);
  try {
    return await startControl(path, box);
  } catch (error) {
    trouble(
      `nothing answers \`holdfast unseal --slot\` here: ${isFault(error) ? error.message : 'the system refused'}`,
    );
    return undefined;
  }
}

function defaultConfigFolder({ variables, home }: Environment): string {
  return join(variables['XDG_CONFIG_HOME'] || join(home, '.config'), 'holdfast');
}

/** What is listed beside the commands of the API; `server` has a parser of its own and comes before them. */
const OWN_COMMANDS: readonly Command[] = [
  {
    words: 'server',
    arguments: '',
    summary: 'Run the box: `holdfast server -help` has its flags.',
    flags: [],
    run: async ({ environment }) => {
      environment.out(SERVER_USAGE);
      return 0;
    },
  },
  {
    words: 'version',
    arguments: '',
    summary: 'Say which version this is.',
    flags: [],
    run: async ({ environment }) => {
      environment.out(`holdfast ${VERSION} (Node ${process.versions.node})\n`);
      return 0;
    },
  },
];

/** `--version` and `help COMMAND` are other spellings of commands. */
function inUsualForm(given: readonly string[]): readonly string[] {
  const [first = '', ...rest] = given;
  if (rest.length === 0 && /^--?v(ersion)?$/.test(first)) return ['version'];
  return first === 'help' && rest.length > 0 ? [...rest, '-help'] : given;
}

/** @param given what follows `holdfast` */
export async function main(given: readonly string[]): Promise<void> {
  const environment = terminalEnvironment();
  const args = inUsualForm(given);
  onBrokenPipe(args[0] === 'server');
  try {
    const code =
      args[0] === 'server'
        ? await serve(args.slice(1), environment)
        : await run(args, environment, OWN_COMMANDS, {
            verifyLog: (folder, own, wanted) => verifyStopped(folder, own, wasmFile(), wanted),
            diagnose: (own) =>
              diagnose(own, {
                version: VERSION,
                clock: systemClock(),
                builtMs: BUILT_MS,
                core: () => loadCore({ wasm: wasmFile(), random: (length) => systemRandom.bytes(length) }),
                devices: (config, store) => devicesOf(config, store, own.variables),
              }),
          });
    if (code !== undefined) process.exitCode = code;
  } catch (thrown) {
    const sentence = thrown instanceof Fault ? thrown.message : systemRefusal(thrown);
    if (sentence === undefined) throw thrown;
    environment.error(`holdfast: ${sentence}\n`);
    process.exit(1);
  }
}
