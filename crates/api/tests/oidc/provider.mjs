// A real OpenID Connect provider on a port of its own, for the tests. It ends with its standard input.
//
// It prints its port. Signing in takes any name: the address is NAME@acme.example, groups are those of the name `NAME+GROUP+GROUP`.
// POST /control/rotate gives it another key and drops the old one; GET /control/keys tells how often its keys were asked for.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

process.stdin.resume();
process.stdin.on('close', () => process.exit(0));

// `sparing` says an address at the userinfo endpoint alone, and takes a client's secret in the body of the request alone.
const [, , manner, ...redirects] = process.argv;
const sparing = manner === 'sparing';
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let asked = 0;

  const key = () => ({
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    use: 'sig',
    alg: 'RS256',
  });

  const client = (id, method) => ({
    client_id: id,
    ...(method === 'none' ? {} : { client_secret: `secret of ${id}: + & %` }),
    token_endpoint_auth_method: method,
    redirect_uris: redirects,
    grant_types: ['authorization_code'],
    response_types: ['code'],
  });

  const made = () => new Provider(issuer, {
    jwks: { keys: [key()] },
    cookies: { keys: ['tests'] },
    clientAuthMethods: ['none', sparing ? 'client_secret_post' : 'client_secret_basic'],
    clients: [client('bifrost', sparing ? 'client_secret_post' : 'client_secret_basic'), client('open', 'none')],
    claims: {
      openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'],
    },
    scopes: ['openid', 'email', 'profile', 'groups'],
    conformIdTokenClaims: sparing,
    findAccount: (_, id) => {
      const [name, ...groups] = id.split('+');
      return {
        accountId: id,
        claims: () => ({
          sub: id, email: `${name}@acme.example`, email_verified: true, name: `${name} of Acme`, groups,
        }),
      };
    },
    features: {
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({
          scope: 'run', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    ttl: {
      AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: 600, Grant: 600,
    },
  });

  let answer = made().callback();
  server.on('request', (request, response) => {
    if (request.url === '/control/rotate') {
      answer = made().callback();
      response.end();
      return;
    }
    if (request.url === '/control/keys') {
      response.end(String(asked));
      return;
    }
    if (request.url === '/jwks') asked += 1;
    answer(request, response);
  });
  process.stdout.write(`${server.address().port}\n`);
});
