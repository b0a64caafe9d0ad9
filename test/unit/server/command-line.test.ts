import { describe, expect, it } from 'vitest';
import { parseCommandLine } from '../../../src/server/command-line.ts';
import { ConfigError } from '../../../src/server/config.ts';

describe('command line', () => {
  it('runs with a file and settings, in both spellings', () => {
    expect(
      parseCommandLine(['-c', 'a.yaml', '--node.id', '2', '--listen.httpPort=1', '-d']),
    ).toEqual({
      kind: 'run',
      file: 'a.yaml',
      flags: new Map([
        ['node.id', '2'],
        ['listen.httpPort', '1'],
        ['logging.level', 'debug'],
      ]),
    });
  });

  it('formats with an identity', () => {
    const words = ['--config', 'a', '--format', '--cluster-id', 'c1', '--voters', '2=bb,1=aa'];
    expect(parseCommandLine(words)).toEqual({
      kind: 'format',
      file: 'a',
      flags: new Map(),
      identity: {
        clusterId: 'c1',
        voters: [
          { nodeId: 1, birthId: 'aa' },
          { nodeId: 2, birthId: 'bb' },
        ],
      },
    });
  });

  it('prints', () => {
    expect(parseCommandLine(['-h', '--config', 'x']).kind).toBe('help');
    expect(parseCommandLine(['-v']).kind).toBe('version');
    expect(parseCommandLine(['--print-config']).kind).toBe('printConfig');
  });

  it.each([
    [['run']],
    [['-r']],
    [['--config']],
    [['--format']],
    [['--format', '--cluster-id', 'c']],
    [['--format', '--cluster-id', 'c c', '--voters', '1=a']],
    [['--format', '--cluster-id', 'c', '--voters', '1=a,1=b']],
    [['--format', '--cluster-id', 'c', '--voters', '0=a']],
    [['--voters', '1=a']],
  ])('refuses %j', (words) => {
    expect(() => parseCommandLine(words)).toThrow(ConfigError);
  });
});
